import { O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { anonymousStat } from "../files/anonymous.ts";
import { FileDescription } from "../files/description.ts";
import type { Child } from "./children.ts";

/** A descriptor that stands for a process (pidfd_open(2); Linux: fs/pidfs.c). Readable once it has ended. */
export class PidFd extends FileDescription {
  readonly child: Child;

  constructor(child: Child, flags = 0) {
    super(O_RDWR | (flags & O_NONBLOCK), child.queue);
    this.child = child;
  }

  override get path(): string {
    return "anon_inode:[pidfd]";
  }

  override stat(): FileStat {
    return anonymousStat(BigInt(this.child.pid), 0o700);
  }

  /** fs/pidfs.c, pidfd_show_fdinfo(). */
  override get info(): string {
    const { pid, status } = this.child;
    const shown = status === undefined ? pid : -1;
    return `Pid:\t${shown}\nNSpid:\t${shown}\n`;
  }

  override poll(): number {
    return this.child.status === undefined ? 0 : POLLIN | POLLRDNORM;
  }
}
