import type { WaitQueue } from "../../emu/threads/wait-queue.ts";
import type { WindowSize } from "../../host/terminal.ts";
import type { Termios } from "../abi/termios.ts";
import type { IoVector } from "../files/io-vector.ts";

/** What is done with what waits when the settings change (tcsetattr(3): TCSANOW, TCSADRAIN, TCSAFLUSH). */
export type When = "now" | "drain" | "flush";

/** TCOOFF, TCOON, TCIOFF, TCION (tcflow(3)). */
export type Flow = "stop-output" | "start-output" | "send-stop" | "send-start";

/** A terminal as the guest's descriptors see it: one of the host's, or one end of a pair within the machine. */
export interface Tty {
  /** Its device number. */
  readonly device: bigint;
  /** Woken whenever poll() may tell something new. */
  readonly queue: WaitQueue;
  attributes(): Termios;
  setAttributes(attributes: Termios, when: When): void;
  windowSize(): WindowSize;
  setWindowSize(size: WindowSize): void;
  /**
   * Reads what is there; WOULD_BLOCK if that is not enough. `to` may have got something by earlier calls.
   * @param waits is the caller one that waits (VMIN and VTIME are about those)?
   */
  read(to: IoVector, waits: boolean): number;
  /** A read that has waited is over, however it ended. */
  endRead(to: IoVector): void;
  /** Writes some bytes; WOULD_BLOCK if it takes none now. */
  write(from: IoVector): number;
  /** POLL* bits that are true now. */
  poll(): number;
  /** Bytes that could be read now (ioctl TIOCINQ), and that have been written but not shown (TIOCOUTQ). */
  inputQueued(): number;
  outputQueued(): number;
  /** Forgets what has not been read, or not been shown (tcflush(3)). */
  flush(input: boolean, output: boolean): void;
  flow(what: Flow): void;
  /** One more way leads to it, one that has been opened; one less. */
  open(): void;
  close(): void;
}
