/** A lock on a file or a part of it (flock(2), fcntl(2)). */
export interface HeldLock {
  /** flock(2)'s locks and those of fcntl(2) know nothing of each other. */
  readonly kind: "flock" | "record";
  /** Whose it is: a process, or one of its open file descriptions. Begins with `HostLocks.self`. */
  readonly owner: string;
  /** What F_GETLK tells: the process's number, -1 for locks of descriptions. */
  readonly pid: number;
  readonly exclusive: boolean;
  /** First and last byte. */
  readonly start: bigint;
  readonly end: bigint;
}

/** Where machines that run at the same time meet about the locks that their guests hold. */
export interface HostLocks {
  /** What names this machine among all, without a space. */
  readonly self: string;
  /**
   * Changes a file's locks while nobody else can. Locks of machines that are gone have been taken out.
   * @param file names the file: device and inode
   * @param change gets the locks, in order, and returns what they are from now on, or undefined to leave them
   */
  update(file: string, change: (locks: readonly HeldLock[]) => readonly HeldLock[] | undefined): void;
  /** Tells the others for which machines this one waits, to take a lock. */
  setWaits(machines: readonly string[]): void;
  /** For which machines another one waits. */
  waitsOf(machine: string): readonly string[];
  /** Gives back all that this machine holds. */
  close(): void;
}
