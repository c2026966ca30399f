import { MSG_PEEK, MSG_TRUNC } from "../abi/socket.ts";
import type { FileDescription } from "../files/description.ts";
import type { IoVector } from "../files/io-vector.ts";
import type { SocketAddress } from "./address.ts";
import type { Credentials, Received } from "./socket.ts";

interface UnixMessage {
  bytes: Uint8Array;
  readonly from: SocketAddress | undefined;
  /** Descriptions that come along; the queue holds a reference to each. */
  rights: readonly FileDescription[];
  readonly credentials: Credentials | undefined;
}

/** Small writes to a stream are joined up to this size. */
const JOINED = 4096;

/** What has come to a Unix domain socket and has not been read: messages, also where they make up a stream. */
export class UnixQueue {
  bytes = 0;
  #messages: UnixMessage[] = [];

  get length(): number {
    return this.#messages.length;
  }

  get firstLength(): number {
    return this.#messages[0]?.bytes.length ?? 0;
  }

  push(message: UnixMessage, isStream: boolean): void {
    this.bytes += message.bytes.length;
    const last = this.#messages[this.#messages.length - 1];
    const joins = isStream && last !== undefined && last.bytes.length < JOINED && message.bytes.length < JOINED;
    if (joins && message.rights.length === 0 && last.rights.length === 0) {
      const joined = new Uint8Array(last.bytes.length + message.bytes.length);
      joined.set(last.bytes);
      joined.set(message.bytes, last.bytes.length);
      last.bytes = joined;
      return;
    }
    this.#messages.push({ ...message });
  }

  /** One message; what does not fit is lost. */
  shiftMessage(to: IoVector, flags: number): Received {
    const message = this.#messages[0];
    const wanted = Math.min(message.bytes.length, to.remaining);
    const count = to.put(message.bytes.subarray(0, wanted));
    const peeks = (flags & MSG_PEEK) !== 0;
    if (!peeks) {
      this.#messages.shift();
      this.bytes -= message.bytes.length;
    }
    if (count < wanted) {
      if (!peeks) for (const description of message.rights) description.release();
      to.fault();
    }
    return {
      count,
      length: flags & MSG_TRUNC ? message.bytes.length : count,
      from: message.from,
      flags: count < message.bytes.length ? MSG_TRUNC : 0,
      rights: handOver(message.rights, peeks),
      credentials: message.credentials,
    };
  }

  /** Bytes of the stream, up to the next ones that descriptors come with (unix_stream_read_generic). */
  shiftBytes(to: IoVector, flags: number): Received {
    const peeks = (flags & MSG_PEEK) !== 0;
    const first = this.#messages[0];
    let count = 0;
    let rights: readonly FileDescription[] = [];
    let at = 0;
    while (to.remaining > 0 && at < this.#messages.length) {
      const message = this.#messages[at];
      if (count > 0 && message.rights.length > 0) break;
      const wanted = Math.min(message.bytes.length, to.remaining);
      const moved = to.put(message.bytes.subarray(0, wanted));
      if (moved === 0 && wanted > 0) break;
      count += moved;
      if (message.rights.length > 0) {
        rights = handOver(message.rights, peeks);
        if (!peeks) message.rights = [];
      }
      if (peeks) at++;
      else {
        this.bytes -= moved;
        if (moved === message.bytes.length) this.#messages.shift();
        else message.bytes = message.bytes.subarray(moved);
      }
      if (moved < wanted || rights.length > 0) break;
    }
    if (count === 0 && to.remaining > 0) to.fault();
    return { count, length: count, from: first.from, flags: 0, rights, credentials: first.credentials };
  }

  clear(): void {
    for (const message of this.#messages) for (const description of message.rights) description.release();
    this.#messages = [];
    this.bytes = 0;
  }
}

/** What a reader gets holds references of its own, also if the message stays. */
function handOver(rights: readonly FileDescription[], stays: boolean): readonly FileDescription[] {
  if (stays) for (const description of rights) description.acquire();
  return rights;
}
