import { SyscallError } from "../abi/errno.ts";
import { type FileStat, makeDevice, S_IFCHR } from "../abi/stat.ts";
import { DEV_DEVICE } from "../files/virtual.ts";
import { Pty, type PtyKernel } from "./pty.ts";

/** Documentation/admin-guide/devices.txt: UNIX98_PTY_SLAVE_MAJOR. */
const SLAVE_MAJOR = 136;
/** Most pairs at a time (/proc/sys/kernel/pty/max). */
const MOST = 4096;

/** The pseudo-terminals of the machine, as /dev/pts has them (Linux: fs/devpts/inode.c). */
export class Ptys {
  readonly #kernel: PtyKernel;
  /** Is there a terminal of the host with that number? It keeps its name. */
  readonly #isHosts: (index: number) => boolean;
  readonly #byIndex = new Map<number, Pty>();
  readonly #owners = new Map<Pty, { readonly uid: number; readonly gid: number; readonly sinceNs: bigint }>();

  constructor(kernel: PtyKernel, isHosts: (index: number) => boolean = () => false) {
    this.#kernel = kernel;
    this.#isHosts = isHosts;
  }

  /** A new pair, for whoever opens /dev/ptmx. @throws SyscallError ENOSPC when there are too many */
  make(uid: number, gid: number, nowNs: bigint): Pty {
    let index = 0;
    while (this.#byIndex.has(index) || this.#isHosts(index)) index++;
    if (index >= MOST) throw new SyscallError("ENOSPC");
    const pty = new Pty(index, makeDevice(SLAVE_MAJOR, index), this.#kernel);
    this.#byIndex.set(index, pty);
    this.#owners.set(pty, { uid, gid, sinceNs: nowNs });
    return pty;
  }

  /** The pair whose slave is /dev/pts/`name`, if its master is still open. */
  find(name: string): Pty | undefined {
    return /^(0|[1-9]\d*)$/.test(name) ? this.#byIndex.get(Number(name)) : undefined;
  }

  /** The terminal that controls a session. */
  ofSession(session: number): Pty | undefined {
    for (const pty of this.#byIndex.values()) if (pty.session === session) return pty;
    return undefined;
  }

  /** The master has been closed. */
  forget(pty: Pty): void {
    this.#byIndex.delete(pty.index);
    pty.closeMaster();
  }

  /** What stat(2) says about a slave: its owner's, who alone and whose group "tty" may write (mode 620). */
  stat(pty: Pty): FileStat {
    const { uid, gid, sinceNs } = this.#owners.get(pty)!;
    return {
      dev: DEV_DEVICE,
      ino: BigInt(pty.index + 3),
      mode: S_IFCHR | 0o620,
      nlink: 1,
      uid,
      gid,
      rdev: pty.device,
      size: 0,
      blockSize: 1024,
      blocks: 0,
      atimeNs: sinceNs,
      mtimeNs: sinceNs,
      ctimeNs: sinceNs,
      birthtimeNs: sinceNs,
    };
  }

  /**
   * A session leader has ended: what its terminal has in the foreground is told, and the terminal is free
   * (drivers/tty/tty_jobctrl.c, disassociate_ctty).
   */
  leave(session: number, onExit: boolean): void {
    const pty = this.ofSession(session);
    if (pty === undefined) return;
    this.#kernel.disassociate(pty, onExit);
    pty.session = 0;
    pty.foreground = 0;
  }
}
