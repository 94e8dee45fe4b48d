# Turn a text file into a C array with a NUL at its end.
# Run as: cmake -DIN=page.css -DOUT=page_css.c -DNAME=page_css -P embed.cmake
file(READ ${IN} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "((0x..,){16})" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "extern const char ${NAME}[];\nconst char ${NAME}[] = {\n${bytes}0x00\n};\n")
