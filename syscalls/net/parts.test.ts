import { describe, expect, it } from "vitest";
import { AF_INET, AF_INET6, AF_NETLINK, AF_UNIX } from "../abi/socket.ts";
import { IoVector } from "../files/io-vector.ts";
import { formatAddress } from "../strace/sockets.ts";
import { Random } from "../testing/random.ts";
import { decodeAddress, encodeAddress, type SocketAddress } from "./address.ts";
import { ByteQueue } from "./byte-queue.ts";
import { canonicalIp, ipFromBytes, ipv6Bytes, isLoopback, isMulticast } from "./ip.ts";
import { covers } from "./port-table.ts";

describe("IP addresses", () => {
  it("have one text each (RFC 5952)", () => {
    const texts = {
      "2001:db8:0:0:1:0:0:1": "2001:db8::1:0:0:1",
      "2001:0db8::0:1": "2001:db8::1",
      "2001:db8:0:1:1:1:1:1": "2001:db8:0:1:1:1:1:1",
      "0:0:0:0:0:0:0:0": "::",
      "::0001": "::1",
      "fe80::1%eth0": "fe80::1",
      "::ffff:127.0.0.1": "127.0.0.1",
      "1::": "1::",
      "192.0.2.1": "192.0.2.1",
    };
    for (const [text, canonical] of Object.entries(texts)) expect(canonicalIp(text)).toBe(canonical);
    expect(ipFromBytes(ipv6Bytes("2001:db8::ff00:42:8329"))).toBe("2001:db8::ff00:42:8329");
  });

  it("are of a kind", () => {
    expect([isLoopback("127.8.9.1"), isLoopback("::1"), isLoopback("128.0.0.1")]).toEqual([true, true, false]);
    expect([isMulticast("224.0.0.1"), isMulticast("ff02::1"), isMulticast("240.0.0.1")]).toEqual([true, true, false]);
    expect(covers("::", false, "127.0.0.1")).toBe(true);
    expect(covers("::", true, "127.0.0.1")).toBe(false);
    expect(covers("0.0.0.0", false, "::1")).toBe(false);
  });
});

describe("socket addresses", () => {
  const addresses: [SocketAddress, string][] = [
    [
      { family: AF_INET, ip: "127.0.0.1", port: 8080 },
      '{sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}',
    ],
    [
      { family: AF_INET6, ip: "::1", port: 80, scope: 0 },
      '{sa_family=AF_INET6, sin6_port=htons(80), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr)}',
    ],
    [{ family: AF_UNIX, path: "/run/a" }, '{sa_family=AF_UNIX, sun_path="/run/a"}'],
    [{ family: AF_UNIX, path: "\0ab" }, '{sa_family=AF_UNIX, sun_path=@"ab"}'],
    [{ family: AF_UNIX, path: "" }, "{sa_family=AF_UNIX}"],
    [{ family: AF_NETLINK, port: 7, groups: 1 }, "{sa_family=AF_NETLINK, nl_pid=7, nl_groups=00000001}"],
  ];
  it("are read as they were written, and shown as strace shows them", () => {
    for (const [address, text] of addresses) {
      expect(decodeAddress(encodeAddress(address))).toEqual(address);
      expect(formatAddress(encodeAddress(address))).toBe(text);
    }
  });
});

describe("a queue of bytes", () => {
  it("gives back what was put in, however it is cut", () => {
    const seed = Number(process.env.SEED ?? Date.now() & 0xffff_ffff);
    const source = new Random(seed);
    const random = (limit: number): number => source.below(limit);
    const queue = new ByteQueue();
    let [written, read] = [0, 0];
    const pattern = (at: number): number => (at * 7 + (at >> 8)) & 0xff;
    for (let i = 0; i < 3000; i++) {
      const size = random(i % 7 === 0 ? 40_000 : 300);
      if (random(2) === 0) {
        queue.push(Uint8Array.from({ length: size }, (_, k) => pattern(written + k)));
        written += size;
      } else {
        const bytes = new Uint8Array(size);
        const peeked = new Uint8Array(size);
        queue.peek(IoVector.buffer(peeked));
        const count = random(5) === 0 ? -queue.discard(size) : queue.shift(IoVector.buffer(bytes));
        const moved = Math.abs(count);
        expect(moved, `seed ${seed}`).toBe(Math.min(size, written - read));
        const expected = Uint8Array.from({ length: moved }, (_, k) => pattern(read + k));
        expect(Buffer.compare(peeked.subarray(0, moved), expected), `seed ${seed}`).toBe(0);
        if (count > 0) expect(Buffer.compare(bytes.subarray(0, moved), expected), `seed ${seed}`).toBe(0);
        read += moved;
      }
      expect(queue.size).toBe(written - read);
    }
  });
});
