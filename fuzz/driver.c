/*
 * driver - replays files through a fuzz target: those of the folders that are given
 * (one that is missing is empty), or single ones.  Each lies in a buffer of its exact
 * size, so that a sanitizer sees a read of one byte too many.  A file that kills the
 * target is named.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle/cleanup.h"
#include "fuzz/fuzz.h"

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

static char current[4096];

/* Called by the sanitizers, too, before they end the process. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void say_which(void)
{
	static const char what[] = "\nfailed on this input: ";

	if (!current[0])
		return;
	if (write(STDERR_FILENO, what, sizeof(what) - 1) < 0 ||
	    write(STDERR_FILENO, current, strlen(current)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
		_exit(EXIT_FAILURE);
}

static void on_signal(int sig)
{
	say_which();
	raise(sig);		/* SA_RESETHAND: now it ends the process */
}

static int replay_file(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	size_t n;

	if (!f || fstat(fileno(f), &st)) {
		perror(path);
		return -1;
	}
	n = (size_t)st.st_size;
	data = malloc(n ? n : 1);
	if (!data || fread(data, 1, n, f) != n) {
		perror(path);
		return -1;
	}
	snprintf(current, sizeof(current), "%s", path);
	LLVMFuzzerTestOneInput(data, n);
	return 0;
}

static int replay(const char *path, size_t *n)
{
	struct dirent **list = NULL;
	struct stat st;
	int ret = 0, count;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return (*n)++, replay_file(path);
	count = scandir(path, &list, NULL, alphasort);
	if (count < 0 && errno == ENOENT)
		return 0;
	if (count < 0) {
		perror(path);
		return -1;
	}
	for (int i = 0; i < count; i++) {
		_cleanup_free_ char *child = NULL;

		if (ret == 0 && list[i]->d_name[0] != '.')
			ret = asprintf(&child, "%s/%s", path, list[i]->d_name) < 0 ? -1 :
			      replay(child, n);
		free(list[i]);
	}
	free(list);
	return ret;
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_signal,
				.sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
	const int deadly[] = { SIGILL, SIGTRAP, SIGABRT, SIGSEGV, SIGBUS, SIGFPE };
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
		struct sigaction old;

		/* a sanitizer's own handler reports more */
		if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(deadly[i], &sa, NULL);
	}
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(say_which);
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		if (replay(argv[i], &n))
			return EXIT_FAILURE;
	printf("%zu inputs\n", n);
	return n ? EXIT_SUCCESS : EXIT_FAILURE;
}
