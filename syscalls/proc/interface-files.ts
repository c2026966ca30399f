import { directory, file, type VirtualDirectory, type VirtualNode } from "../files/virtual.ts";
import { ETHERNET_MTU, interfaceNumbers, LOOPBACK_MTU } from "../net/interfaces.ts";
import type { Process } from "../process.ts";

const constant =
  (text: string): (() => VirtualNode) =>
  (): VirtualNode =>
    file(() => text);

/** ARPHRD_ETHER, ARPHRD_LOOPBACK (include/uapi/linux/if_arp.h). */
const TYPE = { ethernet: 1, loopback: 772 };
/** IFF_UP | IFF_BROADCAST | IFF_MULTICAST, IFF_UP | IFF_LOOPBACK (netdevice(7)). */
const FLAGS = { ethernet: "0x1003", loopback: "0x9" };

/** What Node does not tell: what has gone through an interface. */
const STATISTICS = [
  "collisions multicast rx_bytes rx_compressed rx_crc_errors rx_dropped rx_errors rx_fifo_errors rx_frame_errors",
  "rx_length_errors rx_missed_errors rx_nohandler rx_over_errors rx_packets tx_aborted_errors tx_bytes",
  "tx_carrier_errors tx_compressed tx_dropped tx_errors tx_fifo_errors tx_heartbeat_errors tx_packets tx_window_errors",
]
  .join(" ")
  .split(" ");

/** /sys/class/net (net/core/net-sysfs.c; Documentation/ABI/testing/sysfs-class-net): the host's interfaces. */
export function interfaceFiles(process: Process): VirtualDirectory {
  const all = process.network.interfaces();
  const entries = [...interfaceNumbers(all)].map(([name, index]): [string, () => VirtualNode] => {
    const address = all.find((each) => each.name === name);
    const kind = address?.isLoopback ? "loopback" : "ethernet";
    const texts: Record<string, string> = {
      addr_assign_type: "0",
      addr_len: "6",
      address: address?.mac ?? "00:00:00:00:00:00",
      broadcast: kind === "loopback" ? "00:00:00:00:00:00" : "ff:ff:ff:ff:ff:ff",
      carrier: "1",
      dev_id: "0x0",
      dormant: "0",
      flags: FLAGS[kind],
      ifindex: String(index),
      iflink: String(index),
      link_mode: "0",
      mtu: String(kind === "loopback" ? LOOPBACK_MTU : ETHERNET_MTU),
      netdev_group: "0",
      operstate: kind === "loopback" ? "unknown" : "up",
      tx_queue_len: "1000",
      type: String(TYPE[kind]),
    };
    const files = Object.entries(texts).map(([each, text]) => [each, constant(`${text}\n`)] as const);
    const statistics = Object.fromEntries(STATISTICS.map((each) => [each, constant("0\n")]));
    return [name, () => directory({ ...Object.fromEntries(files), statistics: () => directory(statistics) })];
  });
  return directory(Object.fromEntries(entries));
}
