/*
 * tanalyze-bench-decode DIR: decode every flight-recorder dump of a directory on
 * one thread and print the entries; what bench_dumps.sh times against CPython.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "analyzer/ingest/flight.h"
#include "bundle/cleanup.h"

static int decode(struct flight_dump *d, int dir, const char *name, size_t *entries)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *data = NULL;
	struct error err = { 0 };
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode))
		return 0;
	data = malloc((size_t)st.st_size + 1);
	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
		return -1;
	if (flight_read(d, data, (size_t)st.st_size, &err))
		error_print(stderr, &err);
	*entries += d->n_entries;
	return 0;
}

int main(int argc, char **argv)
{
	DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
	struct error err = { 0 };
	struct flight_dump d;
	size_t entries = 0;

	if (!dir || flight_dump_init(&d, FLIGHT_SCRATCH_BYTES, &err)) {
		fprintf(stderr, "usage: tanalyze-bench-decode DIR\n");
		return 2;
	}
	for (struct dirent *e; (e = readdir(dir));)
		if (decode(&d, dirfd(dir), e->d_name, &entries))
			fprintf(stderr, "%s: cannot read\n", e->d_name);
	printf("entries=%zu\n", entries);
	closedir(dir);
	flight_dump_deinit(&d);
	return 0;
}
