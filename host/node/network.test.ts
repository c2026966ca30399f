import * as dgram from "node:dgram";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from "../../syscalls/abi/poll.ts";
import * as abi from "../../syscalls/abi/socket.ts";
import { FakeSockets, named } from "../../syscalls/net/fake-sockets.ts";
import { NodeHost } from "./host.ts";

/** A guest's sockets with the real network of this computer around them. */
let host: NodeHost;
let p: FakeSockets;
let folder: string;
beforeEach(() => {
  host = new NodeHost();
  p = new FakeSockets(host);
  folder = fs.mkdtempSync(`${os.tmpdir()}/goemu-net-`);
});
afterEach(() => {
  p.files.table.closeAll();
  host.close();
  p.dispose();
  fs.rmSync(folder, { recursive: true });
});

const INET = { family: abi.AF_INET, ip: "127.0.0.1" } as const;

/** A call that waits for the host. */
async function later(name: string, ...values: (number | bigint | string)[]): Promise<number | string> {
  return named(await p.wait(name, ...values).done());
}

async function bindOn(fd: number, port: number): Promise<number | string> {
  return later("bind", fd, ...p.address({ ...INET, port }));
}

async function listener(): Promise<{ fd: number; port: number }> {
  const fd = p.socket();
  expect(await bindOn(fd, 0)).toBe(0);
  expect(p.do("listen", fd, 5)).toBe(0);
  return { fd, port: p.port(fd) };
}

/** Waits until poll(2) would tell these bits of a socket. */
async function until(fd: number, mask: number): Promise<void> {
  for (let i = 0; i < 2000 && (p.poll(fd) & mask) !== mask; i++) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(p.poll(fd) & mask).toBe(mask);
}

/** A guest's server that a client of the host is connected with. */
async function accepted(): Promise<{ server: number; client: net.Socket }> {
  const { fd, port } = await listener();
  const client = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  client.on("error", () => {});
  await once(client, "connect");
  await until(fd, POLLIN);
  const server = p.accept(fd) as number;
  expect(p.name(server, "getpeername")).toEqual({ ...INET, port: client.localPort });
  p.call("close", fd);
  return { server, client };
}

describe("a guest's server", () => {
  it("is reached from the host, both ways, to the end", async () => {
    const { server, client } = await accepted();
    client.write("from the host");
    await until(server, POLLIN);
    expect(p.receive(server)).toBe("from the host");
    expect(p.send(server, "from the guest")).toBe(14);
    const [bytes] = (await once(client, "data")) as [Buffer];
    expect(bytes.toString()).toBe("from the guest");
    client.end("last");
    await until(server, POLLRDHUP);
    expect(p.receive(server)).toBe("last");
    expect(p.receive(server)).toBe("");
    p.call("close", server);
    await once(client, "end");
  });

  it("resets what it closes with bytes unread, and is told of resets", async () => {
    const one = await accepted();
    one.client.write("unread");
    await until(one.server, POLLIN);
    p.call("close", one.server);
    const [error] = (await once(one.client, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNRESET");
    const two = await accepted();
    two.client.resetAndDestroy();
    await until(two.server, POLLERR | POLLHUP);
    expect(p.receive(two.server)).toBe("ECONNRESET");
  });

  it("holds the host back while it does not read, and loses nothing", async () => {
    const { server, client } = await accepted();
    const total = 20_000_000;
    client.end(Buffer.alloc(total, "x"));
    await until(server, POLLIN);
    await new Promise((resolve) => setTimeout(resolve, 50));
    p.reset();
    const count = p.room(4);
    p.call("ioctl", server, 0x541b, count);
    expect(p.memory.readU32(count)).toBeLessThan(1_000_000);
    p.reset();
    const buffer = p.room(60_000);
    let received = 0;
    for (;;) {
      const got = p.call("read", server, buffer, 60_000);
      if (got === 0) break;
      if (got > 0) received += got;
      else await until(server, POLLIN);
    }
    expect(received).toBe(total);
  });

  it("is told of a reset by the write that meets it, and after that of a broken pipe, as on Linux", async () => {
    const { server, client } = await accepted();
    client.resetAndDestroy();
    // Over the loopback interface the reset is there at once; no event of the host has come yet.
    await new Promise((resolve) => setImmediate(resolve));
    const first = p.send(server, "x", abi.MSG_NOSIGNAL);
    expect(["ECONNRESET", "EPIPE"]).toContain(first);
    expect(p.send(server, "x", abi.MSG_NOSIGNAL)).toBe("EPIPE");
    expect(p.poll(server) & POLLHUP).toBe(POLLHUP);
  });

  it("writes more than the host takes, in order, whatever it is cut into", async () => {
    const { server, client } = await accepted();
    const sent = Buffer.alloc(12_000_000);
    for (let i = 0; i < sent.length; i += 4) sent.writeUInt32LE(i, i);
    p.reset();
    const at = p.room(50_000);
    const read: Buffer[] = [];
    client.pause();
    for (let done = 0, step = 0; done < sent.length; step++) {
      const size = Math.min(sent.length - done, step % 3 === 0 ? 7 : 50_000);
      p.memory.writeBytes(at, sent.subarray(done, done + size));
      const count = p.call("write", server, at, size);
      if (count > 0) done += count;
      else {
        expect(named(count)).toBe("EAGAIN");
        if (client.listenerCount("data") === 0) client.on("data", (bytes) => read.push(bytes as Buffer));
        client.resume();
        await until(server, POLLOUT);
      }
    }
    expect(p.call("shutdown", server, abi.SHUT_WR)).toBe(0);
    if (client.listenerCount("data") === 0) client.on("data", (bytes) => read.push(bytes as Buffer));
    client.resume();
    await once(client, "end");
    expect(Buffer.concat(read).equals(sent)).toBe(true);
  });

  it("has its port for itself, on the host as well", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1");
    await once(taken, "listening");
    const { port } = taken.address() as net.AddressInfo;
    const fd = p.socket();
    expect(await bindOn(fd, port)).toBe("EADDRINUSE");
    taken.close();
    await once(taken, "close");
    expect(await bindOn(fd, port)).toBe(0);
    const again = net.createServer().listen(port, "127.0.0.1");
    const [error] = (await once(again, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("EADDRINUSE");
    p.call("close", fd);
    expect(await bindOn(p.socket(), port)).toBe(0);
    expect(await later("bind", p.socket(), ...p.address({ ...INET, ip: "192.0.2.77", port: 0 }))).toBe("EADDRNOTAVAIL");
  });
});

describe("a guest's client", () => {
  it("reaches a server of the host, and is refused where there is none", async () => {
    const served = net.createServer((socket) => socket.end("welcome")).listen(0, "127.0.0.1");
    await once(served, "listening");
    const { port } = served.address() as net.AddressInfo;
    const fd = p.socket();
    expect(await later("connect", fd, ...p.address({ ...INET, port }))).toBe(0);
    expect(p.name(fd, "getpeername")).toEqual({ ...INET, port });
    await until(fd, POLLRDHUP);
    expect(p.receive(fd)).toBe("welcome");
    p.call("close", fd);
    served.close();
    await once(served, "close");
    expect(await later("connect", p.socket(), ...p.address({ ...INET, port }))).toBe("ECONNREFUSED");
    const quick = p.socket(abi.AF_INET, abi.SOCK_STREAM | abi.SOCK_NONBLOCK);
    expect(p.connect(quick, { ...INET, port })).toBe("EINPROGRESS");
    expect(p.poll(quick)).toBe(0);
    await until(quick, POLLERR | POLLOUT);
    expect(p.option(quick, abi.SOL_SOCKET, abi.SO_ERROR)).toBe(111);
  });

  it("reaches a server of the guest without the host", async () => {
    const { fd, port } = await listener();
    const client = p.socket();
    expect(p.connect(client, { ...INET, port })).toBe(0);
    expect(p.name(client)).toEqual(p.name(p.accept(fd) as number, "getpeername"));
  });
});

describe("messages", () => {
  it("go out by UDP and come back", async () => {
    const peer = dgram.createSocket("udp4");
    peer.bind(0, "127.0.0.1");
    await once(peer, "listening");
    peer.on("message", (bytes, { port }) => peer.send(`${bytes}!`, port, "127.0.0.1"));
    const fd = p.socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK);
    p.reset();
    p.call("sendto", fd, "hello", 5, 0, ...p.address({ ...INET, port: peer.address().port }));
    await until(fd, POLLIN);
    expect(p.receive(fd)).toBe("hello!");
    const own = p.socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK);
    expect(await bindOn(own, 0)).toBe(0);
    peer.send("to the guest", p.port(own), "127.0.0.1");
    await until(own, POLLIN);
    expect(p.receive(own)).toBe("to the guest");
    const { port } = peer.address();
    peer.close();
    await once(peer, "close");
    p.connect(own, { ...INET, port });
    p.send(own, "anybody?");
    await until(own, POLLERR);
    expect(p.receive(own)).toBe("ECONNREFUSED");
  });
});

describe("messages from the host", () => {
  /** The control messages of the next message, as bytes. */
  function controlOf(fd: number): Uint8Array {
    p.reset();
    const [data, control] = [p.room(100), p.room(256)];
    const iov = p.put(new Uint8Array(BigUint64Array.of(BigInt(data), 100n).buffer));
    const header = p.put(new Uint8Array(BigUint64Array.of(0n, 0n, BigInt(iov), 1n, BigInt(control), 256n, 0n).buffer));
    expect(p.call("recvmsg", fd, header, 0)).toBeGreaterThan(0);
    return p.memory.readBytes(control, Number(p.memory.readU64(header + 40)));
  }

  it("tell where they were sent to: the address bound to, or the one that an answer comes from", async () => {
    const peer = dgram.createSocket("udp4");
    peer.bind(0, "127.0.0.1");
    await once(peer, "listening");
    for (const ip of ["127.0.0.1", "127.0.0.9", "0.0.0.0"]) {
      const fd = p.socket(abi.AF_INET, abi.SOCK_DGRAM | abi.SOCK_NONBLOCK);
      expect(await later("bind", fd, ...p.address({ ...INET, ip, port: 0 }))).toBe(0);
      expect(p.setOption(fd, abi.IPPROTO_IP, abi.IP_PKTINFO, 1)).toBe(0);
      const destination = ip === "0.0.0.0" ? "127.0.0.1" : ip;
      peer.send("x", p.port(fd), destination);
      await until(fd, POLLIN);
      const bytes = destination.split(".").map(Number);
      // struct cmsghdr, then interface 1, the local address and the destination.
      expect([...controlOf(fd)].slice(8)).toEqual([
        0,
        0,
        0,
        0,
        abi.IP_PKTINFO,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        ...bytes,
        ...bytes,
        0,
        0,
        0,
        0,
      ]);
      p.call("close", fd);
    }
    peer.close();
  });
});

describe("Unix domain sockets with a path", () => {
  const at = (path: string): { family: typeof abi.AF_UNIX; path: string } => ({ family: abi.AF_UNIX, path });

  it("are files, stay when they are closed, and are reached from the host", async () => {
    const path = `${folder}/socket`;
    const fd = p.socket(abi.AF_UNIX);
    expect(await later("bind", fd, ...p.address(at(path)))).toBe(0);
    expect(fs.statSync(path).isSocket()).toBe(true);
    p.do("listen", fd, 5);
    const client = net.connect(path);
    await once(client, "connect");
    client.end("by path");
    await until(fd, POLLIN);
    const server = p.accept(fd) as number;
    await until(server, POLLRDHUP);
    expect(p.receive(server)).toBe("by path");
    p.call("close", fd);
    expect(fs.statSync(path).isSocket()).toBe(true);
    expect(await later("bind", p.socket(abi.AF_UNIX), ...p.address(at(path)))).toBe("EADDRINUSE");
    expect(await later("connect", p.socket(abi.AF_UNIX), ...p.address(at(path)))).toBe("ECONNREFUSED");
    expect(await later("connect", p.socket(abi.AF_UNIX), ...p.address(at(`${folder}/none`)))).toBe("ENOENT");
  });

  it("reach a server of the host", async () => {
    const path = `${folder}/served`;
    const served = net.createServer((socket) => socket.end("welcome")).listen(path);
    await once(served, "listening");
    const fd = p.socket(abi.AF_UNIX);
    expect(await later("connect", fd, ...p.address(at(path)))).toBe(0);
    await until(fd, POLLRDHUP);
    expect(p.receive(fd)).toBe("welcome");
    served.close();
  });
});

describe("the interfaces of this computer", () => {
  it("and their groups stand in /proc/net", () => {
    const read = (name: string): string => {
      p.reset();
      const fd = p.call("open", `/proc/net/${name}`, 0, 0);
      const at = p.room(4096);
      const count = p.call("read", fd, at, 4096);
      p.call("close", fd);
      return p.text(at, count);
    };
    const own = Object.values(os.networkInterfaces()).flatMap((each) => each ?? []);
    expect(read("igmp").match(/^\t\t\t\t010000E0/gm)).toHaveLength(
      new Set(
        Object.keys(os.networkInterfaces()).filter((name) =>
          os.networkInterfaces()[name]?.some(({ family }) => family === "IPv4"),
        ),
      ).size,
    );
    const six = own.filter(({ family }) => family === "IPv6");
    expect(read("if_inet6").split("\n").filter(Boolean)).toHaveLength(six.length);
    // The host's own file says the same, where it has one; interface numbers are the guest's.
    if (!fs.existsSync("/proc/net/if_inet6")) return;
    const known = (text: string): string[] =>
      text
        .split("\n")
        .filter(Boolean)
        .map((line) => `${line.slice(0, 32)} ${line.slice(36, 42)}`);
    expect(known(fs.readFileSync("/proc/net/if_inet6", "latin1"))).toEqual(
      expect.arrayContaining(known(read("if_inet6"))),
    );
  });

  it("are told over netlink", () => {
    const fd = p.socket(abi.AF_NETLINK, abi.SOCK_RAW, 0);
    expect(p.do("bind", fd, ...p.address({ family: abi.AF_NETLINK, port: 0, groups: 0 }))).toBe(0);
    p.reset();
    // struct nlmsghdr: length, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, a sequence number; then struct rtgenmsg.
    const request = new Uint8Array(20);
    const view = new DataView(request.buffer);
    view.setUint32(0, 17, true);
    view.setUint16(4, 22, true);
    view.setUint16(6, 0x301, true);
    view.setUint32(8, 7, true);
    expect(p.call("sendto", fd, p.put(request), 20, 0, 0, 0)).toBe(20);
    const addresses = new Set<string>();
    for (;;) {
      const at = p.room(4096);
      const size = p.call("recvfrom", fd, at, 4096, 0, 0, 0);
      expect(p.memory.readU32(at + 8)).toBe(7);
      if (p.memory.readU16(at + 4) === 3) break;
      expect(p.memory.readU32(at)).toBe(size);
      if (p.memory.readU8(at + 16) === abi.AF_INET) addresses.add(p.memory.readBytes(at + 28, 4).join("."));
      p.reset();
    }
    const own = Object.values(os.networkInterfaces()).flatMap((each) => each ?? []);
    expect(addresses).toEqual(new Set(own.filter(({ family }) => family === "IPv4").map(({ address }) => address)));
  });
});
