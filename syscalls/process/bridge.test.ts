import { describe, expect, it } from "vitest";
import type { HostChannel } from "../../host/processes.ts";
import { IoVector } from "../files/io-vector.ts";
import { PipeEnd } from "../files/pipe.ts";
import { Bridge } from "./bridge.ts";

/** A channel to a child that writes when the test says so. */
class FakeChannel implements HostChannel {
  closed = false;
  events!: Parameters<HostChannel["listen"]>[0];
  listen(events: FakeChannel["events"]): void {
    this.events = events;
  }
  write(): boolean {
    return true;
  }
  end(): void {}
  pause(): void {}
  resume(): void {}
  close(): void {
    this.closed = true;
  }
}

function setUp(): { reader: PipeEnd; writer: PipeEnd; channel: FakeChannel } {
  const [reader, writer] = PipeEnd.pair(1n, 0);
  return { reader: reader.acquire() as PipeEnd, writer: writer.acquire() as PipeEnd, channel: new FakeChannel() };
}

describe("a child's end of a pipe", () => {
  it("is closed at once when nobody reads the pipe", () => {
    const { reader, writer, channel } = setUp();
    reader.release();
    new Bridge(writer, channel, () => {});
    expect(channel.closed).toBe(true);
  });

  it("is closed when the last reader goes, before the child writes once more", () => {
    const { reader, writer, channel } = setUp();
    new Bridge(writer, channel, () => {});
    channel.events.data(new Uint8Array([1, 2, 3]));
    const buffer = new Uint8Array(8);
    expect(reader.read(IoVector.buffer(buffer))).toBe(3);
    expect(channel.closed).toBe(false);
    reader.release();
    expect(channel.closed).toBe(true);
  });
});
