/** inotify(7): include/uapi/linux/inotify.h. */
export const IN_ACCESS = 0x1;
export const IN_MODIFY = 0x2;
export const IN_ATTRIB = 0x4;
export const IN_CLOSE_WRITE = 0x8;
export const IN_CLOSE_NOWRITE = 0x10;
export const IN_OPEN = 0x20;
export const IN_MOVED_FROM = 0x40;
export const IN_MOVED_TO = 0x80;
export const IN_CREATE = 0x100;
export const IN_DELETE = 0x200;
export const IN_DELETE_SELF = 0x400;
export const IN_MOVE_SELF = 0x800;
export const IN_ALL_EVENTS = 0xfff;
export const IN_Q_OVERFLOW = 0x4000;
export const IN_IGNORED = 0x8000;
export const IN_ONLYDIR = 0x0100_0000;
export const IN_DONT_FOLLOW = 0x0200_0000;
export const IN_EXCL_UNLINK = 0x0400_0000;
export const IN_MASK_CREATE = 0x1000_0000;
export const IN_MASK_ADD = 0x2000_0000;
export const IN_ISDIR = 0x4000_0000;
export const IN_ONESHOT = 0x8000_0000;
/** Every bit that inotify_add_watch(2) knows (fs/notify/inotify/inotify_user.c). */
export const IN_KNOWN = (IN_ALL_EVENTS | 0x2000 | IN_Q_OVERFLOW | IN_IGNORED | 0xf700_0000) >>> 0;

/** Events that wait to be read (/proc/sys/fs/inotify/max_queued_events), and watches of a user. */
export const MAX_QUEUED_EVENTS = 16_384;
export const MAX_USER_WATCHES = 65_536;
