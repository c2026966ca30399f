import type { Host } from "../../host/host.ts";
import { errno } from "../abi/errno.ts";
import { AF_INET, AF_UNIX, SOCK_NONBLOCK, SOCK_STREAM } from "../abi/socket.ts";
import { FakeProcess, type Waiting } from "../files/fake-process.ts";
import { decodeAddress, encodeAddress, type SocketAddress } from "./address.ts";
import { Socket } from "./socket.ts";

const names = new Map(Object.entries(errno).map(([name, value]) => [-value, name]));

/** System calls on sockets, for tests: errors come back by name. */
export class FakeSockets extends FakeProcess {
  /** A call that must not wait. */
  do(name: string, ...values: (number | bigint | string)[]): number | string {
    this.reset();
    return named(this.call(name, ...values));
  }

  socket(family = AF_INET, type = SOCK_STREAM, protocol = 0): number {
    return this.call("socket", family, type, protocol);
  }

  /** Puts an address into memory: its place and its length. */
  address(address: SocketAddress): [at: number, length: number] {
    const bytes = encodeAddress(address);
    return [this.put(bytes), bytes.length];
  }

  loopback(port: number): SocketAddress {
    return { family: AF_INET, ip: "127.0.0.1", port };
  }

  bind(fd: number, address: SocketAddress): number | string {
    this.reset();
    return named(this.call("bind", fd, ...this.address(address)));
  }

  connect(fd: number, address: SocketAddress): number | string {
    this.reset();
    return named(this.call("connect", fd, ...this.address(address)));
  }

  name(fd: number, call: "getsockname" | "getpeername" = "getsockname"): SocketAddress | string {
    this.reset();
    const length = this.put(new Uint8Array(Uint32Array.of(128).buffer));
    const at = this.room(128);
    const result = this.call(call, fd, at, length);
    return result < 0
      ? (named(result) as string)
      : decodeAddress(this.memory.readBytes(at, this.memory.readU32(length)));
  }

  port(fd: number): number {
    return (this.name(fd) as { port: number }).port;
  }

  /** A socket that listens on 127.0.0.1, and its address. */
  listener(backlog = 5): { fd: number; at: SocketAddress } {
    const fd = this.socket();
    this.bind(fd, this.loopback(0));
    this.do("listen", fd, backlog);
    return { fd, at: this.name(fd) as SocketAddress };
  }

  accept(fd: number): number | string {
    return this.do("accept4", fd, 0, 0, SOCK_NONBLOCK);
  }

  /** A connection: client and server. Neither waits. */
  connection(): [client: number, server: number] {
    const { fd, at } = this.listener();
    const client = this.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
    this.connect(client, at);
    this.connect(client, at);
    const server = this.accept(fd) as number;
    this.call("close", fd);
    return [client, server];
  }

  pair(type = SOCK_STREAM, flags = SOCK_NONBLOCK): [number, number] {
    this.reset();
    const at = this.room(8);
    this.call("socketpair", AF_UNIX, type | flags, 0, at);
    return [this.memory.readI32(at), this.memory.readI32(at + 4)];
  }

  send(fd: number, text: string, flags = 0): number | string {
    return this.do("sendto", fd, text, text.length, flags, 0, 0);
  }

  /** What recv gives: the text, or the error's name. */
  receive(fd: number, size = 100, flags = 0): string {
    this.reset();
    const at = this.room(size);
    const result = this.call("recvfrom", fd, at, size, flags, 0, 0);
    return result < 0 ? (named(result) as string) : this.text(at, Math.min(result, size));
  }

  /** A call that waits; the memory that it uses stays. */
  waitFor(name: string, ...values: (number | bigint | string)[]): Waiting {
    return this.wait(name, ...values);
  }

  poll(fd: number): number {
    const description = this.files.table.get(fd);
    if (!(description instanceof Socket)) throw new Error(`${fd} is no socket`);
    // What poll(2) is asked for by most: POLLIN | POLLPRI | POLLOUT | POLLRDHUP, and what it always tells.
    return description.poll() & 0x201f;
  }

  option(fd: number, level: number, name: number): number | string {
    this.reset();
    const length = this.put(new Uint8Array(Uint32Array.of(4).buffer));
    const at = this.room(4);
    const result = this.call("getsockopt", fd, level, name, at, length);
    return result < 0 ? named(result) : this.memory.readI32(at);
  }

  setOption(fd: number, level: number, name: number, ...value: number[]): number | string {
    this.reset();
    const bytes = new Uint8Array(Int32Array.from(value).buffer);
    return named(this.call("setsockopt", fd, level, name, this.put(bytes), bytes.length));
  }
}

export const named = (result: number): number | string => names.get(result) ?? result;

/** A process with sockets and no network around it, unless the host has one. */
export function fakeSockets(host: Host): FakeSockets {
  return new FakeSockets(host);
}
