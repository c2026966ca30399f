import { describe, expect, test } from "vitest";
import { bytesOf, escapeBinary, frame, type Incoming, PACKET_SIZE, PacketReader, textOf } from "./packets.ts";

function readAll(...chunks: (string | Uint8Array)[]): Incoming[] {
  const reader = new PacketReader();
  return chunks.flatMap((chunk) => [...reader.read(typeof chunk === "string" ? bytesOf(chunk) : chunk)]);
}

const packet = (text: string): Incoming => ({ kind: "packet", data: bytesOf(text) });

describe("PacketReader", () => {
  test("takes packets, acknowledgements and ^C, however they are cut", () => {
    expect(readAll("+$OK", "#", "9", "a\x03-")).toEqual([
      { kind: "ack" },
      packet("OK"),
      { kind: "interrupt" },
      { kind: "nak" },
    ]);
  });

  test("a wrong checksum or none at all is broken; what follows is read", () => {
    expect(readAll("$OK#00$OK#zz$OK#9a")).toEqual([{ kind: "broken" }, { kind: "broken" }, packet("OK")]);
  });

  test("a packet that is cut off by another is dropped", () => {
    expect(readAll("$m1234$OK#9a")).toEqual([packet("OK")]);
  });

  test("a packet without end does not take memory without end", () => {
    const reader = new PacketReader();
    expect([...reader.read(bytesOf("$"))]).toEqual([]);
    const noise = new Uint8Array(PACKET_SIZE).fill(0x41);
    for (let i = 0; i < 4; i++) expect([...reader.read(noise)]).toEqual([]);
    expect([...reader.read(bytesOf("#00"))]).toEqual([{ kind: "broken" }]);
    expect([...reader.read(bytesOf("$OK#9a"))]).toEqual([packet("OK")]);
  });

  test("binary data comes through any byte", () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(readAll(frame(escapeBinary(bytes)))).toEqual([{ kind: "packet", data: bytes }]);
    expect(textOf(frame(bytesOf("OK")))).toBe("$OK#9a");
  });
});
