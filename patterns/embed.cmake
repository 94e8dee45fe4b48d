# All shipped JSON as C arrays, and a table of them in the order of their names.
# Run as: cmake -DROOT=<source dir> -DOUT=shipped_patterns.c -P embed.cmake
file(GLOB files RELATIVE ${ROOT} ${ROOT}/patterns/signatures/*.json ${ROOT}/patterns/causes/*.json)
list(SORT files)
set(arrays "")
set(table "")
set(n 0)
foreach(f IN LISTS files)
  file(READ ${ROOT}/${f} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(LENGTH "${hex}" digits)
  math(EXPR len "${digits} / 2")
  string(APPEND arrays "static const unsigned char file_${n}[] = {${bytes}0};\n")
  string(APPEND table "\t{ \"${f}\", file_${n}, ${len} },\n")
  math(EXPR n "${n} + 1")
endforeach()
file(WRITE ${OUT} "#include \"analyzer/pattern.h\"\n\n${arrays}
extern const struct embedded_file shipped_patterns[];
extern const size_t n_shipped_patterns;
const struct embedded_file shipped_patterns[] = {\n${table}\t{ 0 },\n};
const size_t n_shipped_patterns = ${n};\n")
