/** Largest packet that is taken, in bytes; what is longer is dropped up to its end. */
export const PACKET_SIZE = 0x2_0000;

const DOLLAR = 0x24;
const HASH = 0x23;
const ESCAPE = 0x7d;
const ESCAPE_BIT = 0x20;
const STAR = 0x2a;
const INTERRUPT = 0x03;

/** What comes in: a packet's payload, a ^C, a packet with a wrong checksum, or an acknowledgement. */
export type Incoming =
  | { readonly kind: "packet"; readonly data: Uint8Array }
  | { readonly kind: "interrupt" | "broken" | "ack" | "nak" };

const hexDigit = (byte: number): number => {
  const digit = "0123456789abcdef".indexOf(String.fromCharCode(byte).toLowerCase());
  return byte === 0 ? -1 : digit;
};

/** Takes packets out of a stream of bytes (gdb manual, "Remote Protocol: Overview"): `$payload#checksum`. */
export class PacketReader {
  #payload: number[] | undefined;
  /** Checksum digits read so far, once the payload is over. */
  #digits: number[] | undefined;
  #sum = 0;

  /** What the bytes complete. Noise between packets is ignored. */
  *read(bytes: Uint8Array): Generator<Incoming> {
    for (const byte of bytes) {
      const incoming = this.#take(byte);
      if (incoming !== undefined) yield incoming;
    }
  }

  #take(byte: number): Incoming | undefined {
    if (this.#digits !== undefined) return this.#checksum(byte);
    if (byte === DOLLAR) {
      // A `$` can't be part of a payload: the packet before it was cut off.
      this.#payload = [];
      this.#sum = 0;
      return undefined;
    }
    if (this.#payload === undefined) {
      if (byte === INTERRUPT) return { kind: "interrupt" };
      if (byte === 0x2b) return { kind: "ack" };
      return byte === 0x2d ? { kind: "nak" } : undefined;
    }
    if (byte === HASH) {
      this.#digits = [];
      return undefined;
    }
    this.#sum = (this.#sum + byte) & 0xff;
    // One byte more than allowed stands for all of them.
    if (this.#payload.length <= PACKET_SIZE) this.#payload.push(byte);
    return undefined;
  }

  #checksum(byte: number): Incoming | undefined {
    const digits = this.#digits as number[];
    digits.push(hexDigit(byte));
    if (digits.length < 2) return undefined;
    const payload = this.#payload as number[];
    const good = digits.every((digit) => digit >= 0) && digits[0] * 16 + digits[1] === this.#sum;
    this.#payload = undefined;
    this.#digits = undefined;
    if (!good || payload.length > PACKET_SIZE) return { kind: "broken" };
    return { kind: "packet", data: unescapeBinary(payload) };
  }
}

function unescapeBinary(payload: readonly number[]): Uint8Array {
  const out: number[] = [];
  for (let i = 0; i < payload.length; i++) {
    if (payload[i] === ESCAPE && i + 1 < payload.length) out.push(payload[++i] ^ ESCAPE_BIT);
    else out.push(payload[i]);
  }
  return Uint8Array.from(out);
}

/** `#`, `$`, `}` and `*` inside data, escaped (gdb manual, "Binary Data"). */
export function escapeBinary(bytes: Uint8Array): Uint8Array {
  const out: number[] = [];
  for (const byte of bytes) {
    if (byte === HASH || byte === DOLLAR || byte === ESCAPE || byte === STAR) out.push(ESCAPE, byte ^ ESCAPE_BIT);
    else out.push(byte);
  }
  return Uint8Array.from(out);
}

/** A packet around a payload that is escaped where it needs to be. */
export function frame(payload: Uint8Array): Uint8Array {
  const sum = payload.reduce((total, byte) => (total + byte) & 0xff, 0);
  const out = new Uint8Array(payload.length + 4);
  out[0] = DOLLAR;
  out.set(payload, 1);
  out[payload.length + 1] = HASH;
  const digits = sum.toString(16).padStart(2, "0");
  out[payload.length + 2] = digits.charCodeAt(0);
  out[payload.length + 3] = digits.charCodeAt(1);
  return out;
}

const latin1 = new TextDecoder("latin1");

/** Bytes as text, one character a byte. */
export const textOf = (bytes: Uint8Array): string => latin1.decode(bytes);
export const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

export const toHex = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
};

/** Bytes from pairs of digits; undefined if the text is something else. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) return undefined;
  return Uint8Array.from({ length: text.length / 2 }, (_, i) => Number.parseInt(text.slice(i * 2, i * 2 + 2), 16));
}
