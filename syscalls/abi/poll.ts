/** poll(2), select(2) and epoll(7): include/uapi/asm-generic/poll.h, include/uapi/linux/eventpoll.h. */
export const POLLIN = 0x001;
export const POLLPRI = 0x002;
export const POLLOUT = 0x004;
export const POLLERR = 0x008;
export const POLLHUP = 0x010;
export const POLLNVAL = 0x020;
export const POLLRDNORM = 0x040;
export const POLLRDBAND = 0x080;
export const POLLWRNORM = 0x100;
export const POLLWRBAND = 0x200;
export const POLLMSG = 0x400;
export const POLLRDHUP = 0x2000;

export const POLL_NAMES: readonly (readonly [number, string])[] = [
  [POLLIN, "POLLIN"],
  [POLLPRI, "POLLPRI"],
  [POLLOUT, "POLLOUT"],
  [POLLERR, "POLLERR"],
  [POLLHUP, "POLLHUP"],
  [POLLNVAL, "POLLNVAL"],
  [POLLRDNORM, "POLLRDNORM"],
  [POLLRDBAND, "POLLRDBAND"],
  [POLLWRNORM, "POLLWRNORM"],
  [POLLWRBAND, "POLLWRBAND"],
  [POLLMSG, "POLLMSG"],
  [POLLRDHUP, "POLLRDHUP"],
];

/** struct pollfd: fd at 0, events at 4, revents at 6. */
export const POLLFD_SIZE = 8;

export const EPOLLEXCLUSIVE = 0x1000_0000;
export const EPOLLWAKEUP = 0x2000_0000;
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;
/** The bits of `events` that say how, not what (fs/eventpoll.c, EP_PRIVATE_BITS). */
export const EPOLL_PRIVATE = (EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET) >>> 0;

export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLL_CLOEXEC = 0o2000000;

/** struct epoll_event is packed on x86-64: events (u32) at 0, data (u64) at 4. */
export const EPOLL_EVENT_SIZE = 12;

export const EPOLL_NAMES: readonly (readonly [number, string])[] = [
  [POLLIN, "EPOLLIN"],
  [POLLPRI, "EPOLLPRI"],
  [POLLOUT, "EPOLLOUT"],
  [POLLERR, "EPOLLERR"],
  [POLLHUP, "EPOLLHUP"],
  [POLLRDNORM, "EPOLLRDNORM"],
  [POLLRDBAND, "EPOLLRDBAND"],
  [POLLWRNORM, "EPOLLWRNORM"],
  [POLLWRBAND, "EPOLLWRBAND"],
  [POLLMSG, "EPOLLMSG"],
  [POLLRDHUP, "EPOLLRDHUP"],
  [EPOLLEXCLUSIVE, "EPOLLEXCLUSIVE"],
  [EPOLLWAKEUP, "EPOLLWAKEUP"],
  [EPOLLONESHOT, "EPOLLONESHOT"],
  [EPOLLET, "EPOLLET"],
];

export const EPOLL_OP_NAMES: ReadonlyMap<number, string> = new Map([
  [EPOLL_CTL_ADD, "EPOLL_CTL_ADD"],
  [EPOLL_CTL_DEL, "EPOLL_CTL_DEL"],
  [EPOLL_CTL_MOD, "EPOLL_CTL_MOD"],
]);

export const EFD_SEMAPHORE = 1;
export const EFD_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = 0o4000;
