import * as fs from "node:fs";

/** How long a file system may take to answer, in ms: one over a network that has been cut off never does. */
const PATIENCE_MS = 2000;

let waiting = 0;

/**
 * Does the file system answer that has `path`? What it says does not matter. A call that did not return would hold up
 * the guest for ever, so that what the guest can do without is asked this first.
 * @param patience in ms
 * @param ask starts a question on another thread, which tells when there is an answer
 */
export async function answers(
  path: string,
  patience = PATIENCE_MS,
  ask: (path: string, answered: () => void) => void = fs.stat,
): Promise<boolean> {
  waiting++;
  return new Promise<boolean>((resolve) => {
    const timer = setTimeout(resolve, patience, false);
    ask(path, () => {
      waiting--;
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** Does a thread of Node's wait for a file system that has not answered in time? */
export const isThreadWaiting = (): boolean => waiting > 0;

/**
 * Ends goemu although a thread of Node's waits for a file system that does not answer: Node would wait for the thread
 * (uv_library_shutdown), and has no other way to leave with a status. Another program in this one's place has
 * (execve(2) ends all threads, those in a wait that a kill ends, too).
 */
export function leaveWithThreadsWaiting(status: number): void {
  process.execve?.("/bin/sh", ["sh", "-c", `exit ${status & 0xff}`], {});
}
