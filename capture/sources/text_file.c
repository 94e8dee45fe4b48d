#include "capture/sources/text_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"

int text_file_open(int dir_fd, const char *name)
{
	return openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

size_t text_file_read(int fd, char *buf, size_t size)
{
	ssize_t n = fd < 0 ? 0 : pread(fd, buf, size - 1, 0);

	if (n < 0)
		n = 0;
	while (n && isspace((unsigned char)buf[n - 1]))
		n--;
	buf[n] = 0;
	return (size_t)n;
}

uint64_t text_number(const char *s, const char **end_ret)
{
	char *end;
	uint64_t v;

	while (*s == ' ' || *s == '\t')
		s++;
	if (end_ret)
		*end_ret = s;
	if (!isdigit((unsigned char)*s))
		return UINT64_MAX;
	errno = 0;
	v = strtoull(s, &end, s[0] == '0' && s[1] == 'x' ? 16 : 10);
	if (end_ret)
		*end_ret = end;
	return errno ? UINT64_MAX : v;
}

uint64_t text_value(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
		if (strncmp(line, key, n) == 0)
			return text_number(line + n, NULL);
	return UINT64_MAX;
}

uint64_t text_hundredths(const char *s)
{
	const char *end;
	uint64_t v = text_number(s, &end);

	if (v == UINT64_MAX || v > UINT64_MAX / 1000)
		return UINT64_MAX;
	v *= 100;
	if (end[0] == '.' && isdigit((unsigned char)end[1])) {
		v += 10 * (uint64_t)(end[1] - '0');
		if (isdigit((unsigned char)end[2]))
			v += (uint64_t)(end[2] - '0');
	}
	return v;
}

uint64_t text_file_number(int fd)
{
	char buf[64];

	return text_file_read(fd, buf, sizeof(buf)) ? text_number(buf, NULL) : UINT64_MAX;
}

size_t text_file_once(int dir_fd, const char *name, char *buf, size_t size)
{
	_cleanup_close_ int fd = text_file_open(dir_fd, name);

	return text_file_read(fd, buf, size);
}

uint64_t text_file_number_once(int dir_fd, const char *name)
{
	_cleanup_close_ int fd = text_file_open(dir_fd, name);

	return text_file_number(fd);
}
