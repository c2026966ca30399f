import { O_NONBLOCK, O_RDWR } from "../abi/fcntl.ts";
import { POLLIN, POLLRDNORM } from "../abi/poll.ts";
import type { FileStat } from "../abi/stat.ts";
import { anonymousStat } from "../files/anonymous.ts";
import { FileDescription } from "../files/description.ts";
import type { Child } from "./children.ts";

/** A descriptor that stands for a child process, or (without one) for this process itself (pidfd_open(2); Linux: fs/pidfs.c). Readable once the child has ended. */
export class PidFd extends FileDescription {
  readonly child: Child | undefined;

  constructor(child: Child | undefined, flags = 0) {
    super(O_RDWR | (flags & O_NONBLOCK), child?.queue);
    this.child = child;
  }

  override get path(): string {
    return "anon_inode:[pidfd]";
  }

  override stat(): FileStat {
    return anonymousStat(BigInt(this.child?.pid ?? 1), 0o700);
  }

  override poll(): number {
    return this.child?.status === undefined ? 0 : POLLIN | POLLRDNORM;
  }
}
