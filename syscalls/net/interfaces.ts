import type { HostInterfaceAddress } from "../../host/network.ts";
import { canonicalIp, type IpAddress, ipv6Bytes, isIpv4, isLoopback } from "./ip.ts";

/** Sizes of packets that interfaces take, in bytes. */
export const LOOPBACK_MTU = 65_536;
export const ETHERNET_MTU = 1500;

/** The interfaces' numbers (if_index): the loopback interface is 1. */
export function interfaceNumbers(addresses: readonly HostInterfaceAddress[]): Map<string, number> {
  const names = [...new Set(addresses.map(({ name }) => name))];
  const isLoopbackName = (name: string): boolean => addresses.some((each) => each.name === name && each.isLoopback);
  names.sort((a, b) => Number(isLoopbackName(b)) - Number(isLoopbackName(a)));
  return new Map(names.map((name, i) => [name, i + 1]));
}

/** The address by which a destination is reached: of the loopback interface, of the same network, or the first other. */
export function sourceAddress(
  addresses: readonly HostInterfaceAddress[],
  ip: IpAddress,
): HostInterfaceAddress | undefined {
  const candidates = addresses.filter((each) => isIpv4(canonicalIp(each.ip)) === isIpv4(ip));
  if (isLoopback(ip)) return candidates.find((each) => each.isLoopback);
  const own = candidates.find((each) => canonicalIp(each.ip) === ip);
  if (own !== undefined) return own;
  const outside = candidates.filter((each) => !each.isLoopback);
  return outside.find((each) => sharesPrefix(each.ip, ip, each.prefix)) ?? outside[0];
}

/** Are the first `prefix` bits the same? */
function sharesPrefix(a: IpAddress, b: IpAddress, prefix: number): boolean {
  const [x, y] = [ipv6Bytes(a), ipv6Bytes(b)];
  const bits = isIpv4(a) ? prefix + 96 : prefix;
  for (let i = 0; i < bits; i += 8) {
    const mask = (0xff00 >> Math.min(8, bits - i)) & 0xff;
    if ((x[i >> 3] & mask) !== (y[i >> 3] & mask)) return false;
  }
  return true;
}
