/**
 * IP addresses as text: dotted decimal or RFC 5952, so that equal addresses are equal strings. An IPv4-mapped IPv6
 * address (::ffff:a.b.c.d) is the IPv4 address.
 */
export type IpAddress = string;

export const ANY4: IpAddress = "0.0.0.0";
export const ANY6: IpAddress = "::";
export const LOOPBACK4: IpAddress = "127.0.0.1";
export const LOOPBACK6: IpAddress = "::1";

export const isIpv4 = (ip: IpAddress): boolean => !ip.includes(":");
export const isAny = (ip: IpAddress): boolean => ip === ANY4 || ip === ANY6;
export const isLoopback = (ip: IpAddress): boolean => ip === LOOPBACK6 || (isIpv4(ip) && ip.startsWith("127."));
export const isMulticast = (ip: IpAddress): boolean =>
  isIpv4(ip) ? (Number.parseInt(ip, 10) & 0xf0) === 0xe0 : /^ff[0-9a-f]{2}:/.test(ip);
export const isLinkLocal6 = (ip: IpAddress): boolean => /^fe[89ab][0-9a-f]:/.test(ip) || /^ff[0-9a-f]2:/.test(ip);

/** Text of 4 bytes, or of 16. */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return bytes.join(".");
  if (isMapped(bytes)) return bytes.subarray(12).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] << 8) | bytes[2 * i + 1]).toString(16));
  return compress(groups);
}

const isMapped = (bytes: Uint8Array): boolean =>
  bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;

/** Puts "::" for the longest run of zero groups, the first of equal ones, but not for a single group (RFC 5952, 4.2). */
function compress(groups: readonly string[]): IpAddress {
  let best = { start: 0, length: 1 };
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === "0") end++;
    if (end - i > best.length) best = { start: i, length: end - i };
  }
  if (best.length < 2) return groups.join(":");
  return `${groups.slice(0, best.start).join(":")}::${groups.slice(best.start + best.length).join(":")}`;
}

/** The 16 bytes of an address; an IPv4 address becomes an IPv4-mapped one. */
export function ipv6Bytes(ip: IpAddress): Uint8Array {
  const bytes = new Uint8Array(16);
  if (isIpv4(ip)) {
    bytes.fill(0xff, 10, 12);
    bytes.set(ipv4Bytes(ip), 12);
    return bytes;
  }
  const [head, tail] = ip.replace(/%.*$/, "").split("::");
  const groups = (text: string | undefined): number[] => (text ?? "").split(":").filter(Boolean).flatMap(groupValues);
  const first = groups(head);
  const last = groups(tail);
  const all =
    tail === undefined ? first : [...first, ...Array(Math.max(0, 8 - first.length - last.length)).fill(0), ...last];
  all.slice(0, 8).forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** A hexadecimal group, or a dotted end that counts for two. */
function groupValues(text: string): number[] {
  if (!text.includes(".")) return [Number.parseInt(text, 16)];
  const [a, b, c, d] = ipv4Bytes(text);
  return [(a << 8) | b, (c << 8) | d];
}

export const ipv4Bytes = (ip: IpAddress): Uint8Array => Uint8Array.from(ip.split("."), Number);

/** The usual text of an address that a host wrote in its own way. */
export const canonicalIp = (ip: string): IpAddress => (isIpv4(ip) ? ip : ipFromBytes(ipv6Bytes(ip)));
