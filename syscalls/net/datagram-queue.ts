import { MSG_PEEK, MSG_TRUNC } from "../abi/socket.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { SocketAddress } from "./address.ts";
import type { PacketInfo } from "./packet.ts";
import type { Received } from "./socket.ts";

/** What Linux counts for a message beside its bytes (sizeof(struct sk_buff) and its kin). */
const OVERHEAD = 768;

export interface Datagram {
  readonly bytes: Uint8Array;
  readonly from: SocketAddress | undefined;
  readonly packet?: PacketInfo;
}

/** Messages that have arrived and not been read. */
export class DatagramQueue<T extends Datagram> {
  readonly #messages: T[] = [];
  #charge = 0;

  get length(): number {
    return this.#messages.length;
  }

  get first(): T | undefined {
    return this.#messages[0];
  }

  /** What the messages take of the receive buffer. */
  get charge(): number {
    return this.#charge;
  }

  push(message: T): void {
    this.#messages.push(message);
    this.#charge += message.bytes.length + OVERHEAD;
  }

  /** Takes the first message out; with MSG_PEEK it stays. Bytes that do not fit are lost. */
  receive(to: IoVector, flags: number): Received | undefined {
    const message = this.#messages[0];
    if (message === undefined) return undefined;
    const { bytes, from, packet } = message;
    const wanted = Math.min(bytes.length, to.remaining);
    const count = to.put(bytes.subarray(0, wanted));
    if (!(flags & MSG_PEEK)) this.shift();
    if (count < wanted) to.fault();
    const cut = count < bytes.length;
    return {
      count,
      length: flags & MSG_TRUNC ? bytes.length : count,
      from,
      flags: cut ? MSG_TRUNC : 0,
      rights: [],
      ...(packet === undefined ? {} : { packet }),
    };
  }

  shift(): T | undefined {
    const message = this.#messages.shift();
    if (message !== undefined) this.#charge -= message.bytes.length + OVERHEAD;
    return message;
  }
}
