// SPDX-License-Identifier: GPL-2.0-only
// A module to be patched: functions that say which they are, and what calls them, behind files in
// /proc/parts. None of them is inlined or cloned, so that all can be replaced.
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/sched/vhost_task.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define PATCHABLE static noinline __attribute__((noipa))

static struct proc_dir_entry *folder;
static DECLARE_COMPLETION(gate);

/* Nobody can trace this one, and so nobody can patch it. */
static noinline notrace __attribute__((noipa, used)) int part_quiet(void) { return 1; }

/* Two that must agree with each other. */
PATCHABLE int part_first(void) { return 1; }
PATCHABLE int part_second(void) { return 1; }

/* Sleeps until the gate opens; only a fatal signal wakes it. */
PATCHABLE int part_sleep(struct completion *done)
{
	return wait_for_completion_killable(done) ? -EINTR : 1;
}

/* The same, but any signal wakes it, and the system call starts over. */
PATCHABLE int part_nap(struct completion *done)
{
	return wait_for_completion_interruptible(done) ? -ERESTARTSYS : 1;
}

/* What the kernel thread does, over and over: sleeps until someone wakes it, whoever it is. */
PATCHABLE int part_work(void)
{
	schedule_timeout_interruptible(60 * HZ);
	return 1;
}

/* --- one after the other ------------------------------------------------------------------- */

static int pair_show(struct seq_file *m, void *v)
{
	int first = part_first(), second;

	/* A transition may begin here. */
	udelay(20);
	second = part_second();
	seq_printf(m, "%d %d\n", first, second);
	return 0;
}

/* A caller that sleeps between them until the gate opens, which is outside of both. */
PATCHABLE int part_pair(struct completion *done, int *first, int *second)
{
	*first = part_first();
	if (wait_for_completion_killable(done))
		return -EINTR;
	*second = part_second();
	return 0;
}

static int slow_pair_show(struct seq_file *m, void *v)
{
	int first, second, error = part_pair(&gate, &first, &second);

	if (!error)
		seq_printf(m, "%d %d\n", first, second);
	return error;
}

/* --- who sleeps ---------------------------------------------------------------------------- */

static int sleep_show(struct seq_file *m, void *v)
{
	int part = part_sleep(&gate);

	seq_printf(m, "%d\n", part);
	return part < 0 ? part : 0;
}

static int nap_show(struct seq_file *m, void *v)
{
	int part = part_nap(&gate);

	seq_printf(m, "%d\n", part);
	return part < 0 ? part : 0;
}

/* --- who is born --------------------------------------------------------------------------- */

struct child {
	int first;
	struct completion done;
};

static bool child_runs(void *data)
{
	struct child *child = data;

	if (!child->first) {
		child->first = part_first();
		complete(&child->done);
	}
	return false;
}

static void child_killed(void *data) { }

/* Forks a task that stays in the kernel. Which first part does it see? */
static int child_sees(void)
{
	struct child child = { .done = COMPLETION_INITIALIZER_ONSTACK(child.done) };
	struct vhost_task *task = vhost_task_create(child_runs, child_killed, &child, "part_child");

	if (IS_ERR_OR_NULL(task))
		return -ENOMEM;
	vhost_task_start(task);
	wait_for_completion(&child.done);
	vhost_task_stop(task);
	return child.first;
}

/*
 * The lowest that one of some children sees: each is born on its parent's side, but the kernel may look
 * before it gets anywhere, and take it to the other one.
 */
static int children_see(void)
{
	int lowest = child_sees();

	for (int more = 0; more < 4; more++)
		lowest = min(lowest, child_sees());
	return lowest;
}

/* Sleeps, and then forks. */
PATCHABLE int part_fork(struct completion *done)
{
	if (wait_for_completion_killable(done))
		return -EINTR;
	return children_see();
}

static int fork_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%d\n", part_fork(&gate));
	return 0;
}

static int child_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%d\n", children_see());
	return 0;
}

/* --- the kernel thread --------------------------------------------------------------------- */

static struct task_struct *thread;
static int thread_part;

static int thread_runs(void *unused)
{
	while (!kthread_should_stop()) {
		WRITE_ONCE(thread_part, part_work());
		cond_resched();
	}
	return 0;
}

static int thread_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%d\n", READ_ONCE(thread_part));
	return 0;
}

/* --- what is set up once ------------------------------------------------------------------- */

struct settings {
	int limit;
};

struct settings *part_settings;
EXPORT_SYMBOL_GPL(part_settings);

PATCHABLE void part_set_up(struct settings *fresh) { fresh->limit = 10; }

static int limit_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%d\n", part_settings->limit);
	return 0;
}

/* --- commands ------------------------------------------------------------------------------ */

static ssize_t do_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	char word;

	if (!count || copy_from_user(&word, from, 1))
		return -EFAULT;
	switch (word) {
	case 'o': /* open */
		complete_all(&gate);
		return count;
	case 'c': /* close */
		reinit_completion(&gate);
		return count;
	case 'k': /* kick */
		wake_up_process(thread);
		return count;
	case 'l': /* limit */
		part_settings->limit = 99;
		return count;
	}
	return -EINVAL;
}

static const struct proc_ops do_ops = { .proc_write = do_write };

static int __init parts_init(void)
{
	part_settings = kzalloc(sizeof(*part_settings), GFP_KERNEL);
	folder = proc_mkdir("parts", NULL);
	if (!part_settings || !folder)
		return -ENOMEM;
	part_set_up(part_settings);
	proc_create_single("pair", 0444, folder, pair_show);
	proc_create_single("slow_pair", 0444, folder, slow_pair_show);
	proc_create_single("sleep", 0444, folder, sleep_show);
	proc_create_single("nap", 0444, folder, nap_show);
	proc_create_single("fork", 0444, folder, fork_show);
	proc_create_single("child", 0444, folder, child_show);
	proc_create_single("thread", 0444, folder, thread_show);
	proc_create_single("limit", 0444, folder, limit_show);
	proc_create("do", 0222, folder, &do_ops);
	thread = kthread_run(thread_runs, NULL, "part_thread");
	return PTR_ERR_OR_ZERO(thread);
}

static void __exit parts_exit(void)
{
	kthread_stop(thread);
	proc_remove(folder);
	kfree(part_settings);
}

module_init(parts_init);
module_exit(parts_exit);
MODULE_DESCRIPTION("Functions to be patched");
MODULE_LICENSE("GPL");
