import { SyscallError } from "../abi/errno.ts";
import type { Socket } from "./socket.ts";

/** One option of getsockopt(2) and setsockopt(2). */
export interface Option {
  /** The value; without it, and without `initial`, the option can't be read. */
  readonly get?: (socket: Socket) => Uint8Array;
  /** `value` has at least `size` bytes. */
  readonly set?: (socket: Socket, value: DataView) => void;
  /** Fewest bytes that setsockopt takes; 4, an int, if nothing is said. */
  readonly size?: number;
  /** The value of an option that is only remembered (Socket.remembered), until it is set. */
  readonly initial?: number;
  /** What is remembered when a value is set. @throws SyscallError for one that Linux does not take */
  readonly store?: (value: number, socket: Socket) => number;
}

export function int(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}

export const number = (get: (socket: Socket) => number, set?: (socket: Socket, value: number) => void): Option => ({
  get: (socket) => int(get(socket)),
  ...(set === undefined ? {} : { set: (socket: Socket, view: DataView) => set(socket, view.getInt32(0, true)) }),
});

/** A switch with a meaning: any value but 0 turns it on. */
export const flag = (get: (socket: Socket) => boolean, set: (socket: Socket, value: boolean) => void): Option =>
  number(
    (socket) => (get(socket) ? 1 : 0),
    (socket, value) => set(socket, value !== 0),
  );

/** A value that is kept for whoever asks, here or where messages are sent and received. */
export const remembered = (initial: number, store: NonNullable<Option["store"]> = (value) => value): Option => ({
  initial,
  store,
});

/** A switch that is kept: any value but 0 turns it on. */
export const toggle = (initial = 0): Option => remembered(initial, (value) => (value === 0 ? 0 : 1));

/** A value between bounds, which stands for itself. @throws SyscallError EINVAL */
export const between =
  (low: number, high: number, fallback?: number) =>
  (value: number): number => {
    // -1 is "as the system's default says" where there is a fallback.
    if (value === -1 && fallback !== undefined) return fallback;
    if (value < low || value > high) throw new SyscallError("EINVAL");
    return value;
  };

/** An option that always fails. */
export const refused = (error: ConstructorParameters<typeof SyscallError>[0]): Option => ({
  set: () => {
    throw new SyscallError(error);
  },
});

/** A value that only the superuser may set (CAP_NET_ADMIN). */
export const privileged = (store: NonNullable<Option["store"]>): NonNullable<Option["store"]> => {
  return (value, socket) => {
    if (socket.network.owner.euid !== 0) throw new SyscallError("EPERM");
    return store(value, socket);
  };
};
