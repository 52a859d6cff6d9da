// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver as many are: it has objects, which are made, shown and freed, and one function that a timer
 * calls in an interrupt. Each of these steps is a function that a livepatch can replace.
 *
 *   echo add A >/proc/things    echo del A >/proc/things    echo tick >/proc/things    cat /proc/things
 */
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/* As written, under this name: no copy for what the callers happen to pass. */
#define REPLACEABLE __attribute__((noipa))

struct thing {
	char name;
	struct list_head list;
};

static LIST_HEAD(things);
static DEFINE_MUTEX(lock);
static struct hrtimer timer;
static DECLARE_COMPLETION(ticked);

static REPLACEABLE void thing_init(struct thing *thing)
{
	barrier();
}

static REPLACEABLE void thing_release(struct thing *thing)
{
	barrier();
}

static REPLACEABLE void thing_show(struct seq_file *file, struct thing *thing)
{
	seq_printf(file, "%c\n", thing->name);
}

/* In an interrupt. */
static REPLACEABLE void thing_tick(struct thing *thing)
{
	barrier();
}

static enum hrtimer_restart tick(struct hrtimer *timer)
{
	struct thing *thing;

	/* Who started the timer holds the lock. */
	list_for_each_entry(thing, &things, list)
		thing_tick(thing);
	complete(&ticked);
	return HRTIMER_NORESTART;
}

static void thing_free(struct thing *thing)
{
	thing_release(thing);
	list_del(&thing->list);
	kfree(thing);
}

static int things_show(struct seq_file *file, void *v)
{
	struct thing *thing;

	mutex_lock(&lock);
	list_for_each_entry(thing, &things, list)
		thing_show(file, thing);
	mutex_unlock(&lock);
	return 0;
}

static int things_open(struct inode *inode, struct file *file)
{
	return single_open(file, things_show, NULL);
}

static ssize_t things_write(struct file *file, const char __user *user, size_t size, loff_t *at)
{
	struct thing *thing, *next;
	char text[8] = {};

	if (copy_from_user(text, user, min(size, sizeof(text) - 1)))
		return -EFAULT;
	mutex_lock(&lock);
	if (!strncmp(text, "add ", 4)) {
		thing = kzalloc(sizeof(*thing), GFP_KERNEL);
		if (thing) {
			thing->name = text[4];
			list_add_tail(&thing->list, &things);
			thing_init(thing);
		}
	} else if (!strncmp(text, "del ", 4)) {
		list_for_each_entry_safe(thing, next, &things, list)
			if (thing->name == text[4])
				thing_free(thing);
	} else if (!strncmp(text, "tick", 4)) {
		reinit_completion(&ticked);
		hrtimer_start(&timer, ms_to_ktime(1), HRTIMER_MODE_REL_HARD);
		wait_for_completion(&ticked);
	}
	mutex_unlock(&lock);
	return size;
}

static const struct proc_ops things_ops = {
	.proc_open = things_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = things_write,
};

static int __init things_init(void)
{
	hrtimer_init(&timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL_HARD);
	timer.function = tick;
	return proc_create("things", 0600, NULL, &things_ops) ? 0 : -ENOMEM;
}

static void __exit things_exit(void)
{
	struct thing *thing, *next;

	remove_proc_entry("things", NULL);
	hrtimer_cancel(&timer);
	list_for_each_entry_safe(thing, next, &things, list)
		thing_free(thing);
}

module_init(things_init);
module_exit(things_exit);
MODULE_DESCRIPTION("Objects for livepatches with shadow variables");
MODULE_LICENSE("GPL");
