// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * A stand-in for the SDC of ScaleIO in a node of the rig. Dell's own module, of the same name, cannot be had.
 *
 * What is as with Dell's: the block driver called "scini", the disks scinia, scinib, … that come when a volume is mapped to the node and
 * go, whoever uses them, when it is unmapped; /dev/scini with the ioctls for the GUID and for a rescan (goscaleio, drv_cfg.go; os-brick,
 * privileged/scaleio.py); a disk that has its new size only after a rescan. What is made up: the storage behind a disk, which is another
 * block device of the node, and the orders that are written to /dev/scini:
 *
 *   map VOLUME DEVICE [ro]   unmap VOLUME   call VOLUME OTHER   hold VOLUME   release VOLUME
 *
 * What comes for a volume that is held waits, so that whoever has held several can copy them as they are at one moment. It is held as often
 * as that was ordered, and not after it was unmapped.
 *
 * Reading /dev/scini gives a line "DISK VOLUME" for each disk, which ./drv_cfg is asked for in its own form. A number is given again as
 * soon as its disk has gone, even while a filesystem of the old one is still mounted: whether Dell's driver does so is not known, and it
 * is the worst that it could do.
 */
#include <linux/blkdev.h>
#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uuid.h>
#include <linux/wait.h>

#define DISKS 26
#define MINORS 16
#define LONGEST 256
#define BACKING (FMODE_READ | FMODE_WRITE)

#define RESCAN _IO('a', 10)
#define QUERY_GUID _IO('a', 14)

struct volume {
	char id[64];
	int slot;
	struct gendisk *disk;
	struct block_device *backing;
	atomic_t held;
};

/* What QUERY_GUID fills. 'A' says that it has been done. */
struct answer {
	u8 code[8];
	u8 guid[16];
	u32 network[2];
};

static int major;
static struct volume *volumes[DISKS];
static DEFINE_MUTEX(lock);
static DECLARE_WAIT_QUEUE_HEAD(released);

static char guid[UUID_STRING_LEN + 1];
module_param_string(guid, guid, sizeof(guid), 0444);
MODULE_PARM_DESC(guid, "what the SDC calls itself");

static void submit(struct bio *bio)
{
	struct volume *volume = bio->bi_bdev->bd_disk->private_data;

	wait_event(released, !atomic_read(&volume->held));
	bio_set_dev(bio, volume->backing);
	submit_bio_noacct(bio);
}

static void free_disk(struct gendisk *disk)
{
	kfree(disk->private_data);
}

static const struct block_device_operations operations = {
	.owner = THIS_MODULE,
	.submit_bio = submit,
	.free_disk = free_disk,
};

static struct volume *find(const char *id)
{
	int slot;

	for (slot = 0; slot < DISKS; slot++)
		if (volumes[slot] && !strcmp(volumes[slot]->id, id))
			return volumes[slot];
	return NULL;
}

static int map(const char *id, const char *path, bool read_only)
{
	struct volume *volume;
	struct gendisk *disk;
	int slot = 0, error;

	if (find(id))
		return -EEXIST;
	while (slot < DISKS && volumes[slot])
		slot++;
	if (slot == DISKS)
		return -ENOSPC;
	volume = kzalloc(sizeof(*volume), GFP_KERNEL);
	if (!volume)
		return -ENOMEM;
	strscpy(volume->id, id, sizeof(volume->id));
	volume->slot = slot;
	volume->backing = blkdev_get_by_path(path, BACKING, volume);
	if (IS_ERR(volume->backing)) {
		error = PTR_ERR(volume->backing);
		kfree(volume);
		return error;
	}
	disk = blk_alloc_disk(NUMA_NO_NODE);
	if (!disk) {
		blkdev_put(volume->backing, BACKING);
		kfree(volume);
		return -ENOMEM;
	}
	volume->disk = disk;
	disk->major = major;
	disk->first_minor = slot * MINORS;
	disk->minors = MINORS;
	disk->fops = &operations;
	disk->private_data = volume;
	snprintf(disk->disk_name, sizeof(disk->disk_name), "scini%c", 'a' + slot);
	disk_stack_limits(disk, volume->backing, 0);
	blk_queue_write_cache(disk->queue, true, true);
	set_capacity(disk, bdev_nr_sectors(volume->backing));
	set_disk_ro(disk, read_only);
	volumes[slot] = volume;
	error = add_disk(disk);
	if (error) {
		volumes[slot] = NULL;
		blkdev_put(volume->backing, BACKING);
		put_disk(disk);
	}
	return error;
}

static int unmap(const char *id)
{
	struct volume *volume = find(id);
	struct block_device *backing;

	if (!volume)
		return -ENOENT;
	volumes[volume->slot] = NULL;
	backing = volume->backing;
	/* The disk does not go before those who wait have gone on. */
	atomic_set(&volume->held, 0);
	wake_up_all(&released);
	del_gendisk(volume->disk);
	/* Who has it open has it still, and gets errors. */
	put_disk(volume->disk);
	blkdev_put(backing, BACKING);
	return 0;
}

static int call(const char *id, const char *other)
{
	struct volume *volume = find(id);

	if (!volume)
		return -ENOENT;
	strscpy(volume->id, other, sizeof(volume->id));
	return 0;
}

static int hold(const char *id, bool on)
{
	struct volume *volume = find(id);

	if (!volume)
		return -ENOENT;
	if (on)
		atomic_inc(&volume->held);
	else if (!atomic_add_unless(&volume->held, -1, 0))
		return -EINVAL;
	wake_up_all(&released);
	return 0;
}

static ssize_t order(struct file *file, const char __user *text, size_t length, loff_t *at)
{
	char *line, *rest, *word, *words[4] = { "", "", "", "" };
	int count = 0, error = -EINVAL;

	if (length >= LONGEST)
		return -E2BIG;
	line = memdup_user_nul(text, length);
	if (IS_ERR(line))
		return PTR_ERR(line);
	rest = strim(line);
	while ((word = strsep(&rest, " ")) && count < 4)
		words[count++] = word;
	mutex_lock(&lock);
	if (!strcmp(words[0], "map"))
		error = map(words[1], words[2], !strcmp(words[3], "ro"));
	else if (!strcmp(words[0], "unmap"))
		error = unmap(words[1]);
	else if (!strcmp(words[0], "call"))
		error = call(words[1], words[2]);
	else if (!strcmp(words[0], "hold") || !strcmp(words[0], "release"))
		error = hold(words[1], words[0][0] == 'h');
	mutex_unlock(&lock);
	kfree(line);
	return error ? error : length;
}

static ssize_t list(struct file *file, char __user *buffer, size_t length, loff_t *at)
{
	char *text = kmalloc(PAGE_SIZE, GFP_KERNEL);
	int slot, written = 0;
	ssize_t result;

	if (!text)
		return -ENOMEM;
	mutex_lock(&lock);
	for (slot = 0; slot < DISKS; slot++)
		if (volumes[slot])
			written += scnprintf(text + written, PAGE_SIZE - written, "%s %s\n", volumes[slot]->disk->disk_name,
					     volumes[slot]->id);
	mutex_unlock(&lock);
	result = simple_read_from_buffer(buffer, length, at, text, written);
	kfree(text);
	return result;
}

static long control(struct file *file, unsigned int request, unsigned long argument)
{
	struct answer answer = { .code = { 'A' } };
	uuid_t own;
	int slot;

	switch (request) {
	case QUERY_GUID:
		if (uuid_parse(guid, &own))
			return -EINVAL;
		memcpy(answer.guid, own.b, sizeof(answer.guid));
		return copy_to_user((void __user *)argument, &answer, sizeof(answer)) ? -EFAULT : 0;
	case RESCAN:
		mutex_lock(&lock);
		for (slot = 0; slot < DISKS; slot++)
			if (volumes[slot])
				set_capacity_and_notify(volumes[slot]->disk, bdev_nr_sectors(volumes[slot]->backing));
		mutex_unlock(&lock);
		return 0;
	default:
		return -ENOTTY;
	}
}

static const struct file_operations control_operations = {
	.owner = THIS_MODULE,
	.write = order,
	.read = list,
	.unlocked_ioctl = control,
	.compat_ioctl = control,
};

static struct miscdevice control_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "scini",
	.fops = &control_operations,
};

static int __init start(void)
{
	int error;

	major = register_blkdev(0, "scini");
	if (major < 0)
		return major;
	error = misc_register(&control_device);
	if (error)
		unregister_blkdev(major, "scini");
	return error;
}

/* It stays until the node goes off: what is mounted may outlive its mapping. */
module_init(start);
MODULE_DESCRIPTION("A stand-in for the SDC of ScaleIO");
MODULE_LICENSE("Dual MIT/GPL");
