/* Network interfaces: /proc/net/dev for the counters, sysfs for what does not ask the device. */
#include "capture/sources/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bundle/cleanup.h"

void interfaces_open(struct interfaces *all, const char *root)
{
	char path[512];

	all->n = 0;
	snprintf(path, sizeof(path), "%s/proc/net/dev", root);
	all->dev = text_file_open(AT_FDCWD, path);
	snprintf(path, sizeof(path), "%s/sys/class/net", root);
	all->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void forget(struct interface *i)
{
	closep(&i->operstate);
	closep(&i->carrier_changes);
}

void interfaces_close(struct interfaces *all)
{
	for (size_t i = 0; i < all->n; i++)
		forget(&all->by_slot[i]);
	closep(&all->dev);
	closep(&all->root_fd);
}

/* Those of containers come and go, and say nothing about the host's links. */
static bool is_watched(const char *name)
{
	static const char *const others[] = { "lo",  "veth",	"docker", "br-",  "cali",
					      "cni", "flannel", "ifb",	  "tunl", "dummy" };

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (strncmp(name, others[i], strlen(others[i])) == 0)
			return false;
	return true;
}

static struct interface *interface_of(struct interfaces *all, const char *name)
{
	struct interface *i;
	char path[64];

	for (size_t k = 0; k < all->n; k++)
		if (strcmp(all->by_slot[k].n.name, name) == 0)
			return &all->by_slot[k];
	if (all->n == INTERFACES_MAX || !is_watched(name))
		return NULL;
	i = &all->by_slot[all->n++];
	*i = (struct interface){ 0 };
	snprintf(i->n.name, sizeof(i->n.name), "%s", name);
	snprintf(path, sizeof(path), "%s/operstate", name);
	i->operstate = text_file_open(all->root_fd, path);
	snprintf(path, sizeof(path), "%s/carrier_changes", name);
	i->carrier_changes = text_file_open(all->root_fd, path);
	i->n.carrier_changes = UINT64_MAX;	/* unlike anything that is read: the first reading is recorded */
	return i;
}

/* name: bytes packets errs drop fifo frame compressed multicast bytes packets errs ... */
static void parse_counters(const char *p, struct record_netdev *n)
{
	uint64_t v[16];

	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		v[i] = text_number(p, &p);
		v[i] = v[i] == UINT64_MAX ? 0 : v[i];
	}
	n->rx_bytes = v[0];
	n->rx_errors = v[2];
	n->rx_dropped = v[3];
	n->tx_bytes = v[8];
	n->tx_errors = v[10];
}

static void read_interface(struct interface *i, const char *counters, bool everything, interface_fn *put, void *ctx)
{
	struct record_netdev n = i->n;
	char state[24];

	parse_counters(counters, &n);
	text_file_read(i->operstate, state, sizeof(state));
	n.is_up = strcmp(state, "up") == 0 || strcmp(state, "unknown") == 0;
	n.carrier_changes = text_file_number(i->carrier_changes);
	i->seen = true;
	if (everything || n.is_up != i->n.is_up || n.carrier_changes != i->n.carrier_changes ||
	    n.rx_errors != i->n.rx_errors || n.tx_errors != i->n.tx_errors)
		put(ctx, &n);
	i->n = n;
}

void interfaces_read(struct interfaces *all, bool everything, interface_fn *put, void *ctx)
{
	char text[16384];

	for (size_t i = 0; i < all->n; i++)
		all->by_slot[i].seen = false;
	text_file_read(all->dev, text, sizeof(text));
	for (char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		char *name = line + strspn(line, " "), *colon = name + strcspn(name, ":\n");
		struct interface *i;

		if (*colon != ':' || colon - name >= (ptrdiff_t)sizeof(i->n.name))
			continue;
		*colon = 0;
		i = interface_of(all, name);
		if (i)
			read_interface(i, colon + 1, everything, put, ctx);
		*colon = ':';
	}
	for (size_t i = 0; i < all->n;) {
		if (all->by_slot[i].seen) {
			i++;
			continue;
		}
		forget(&all->by_slot[i]);
		all->by_slot[i] = all->by_slot[--all->n];
	}
}
