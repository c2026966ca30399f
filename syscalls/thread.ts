/** A guest thread as system calls see it. */
export interface Thread {
  readonly tid: number;
  readonly name: string;
}
