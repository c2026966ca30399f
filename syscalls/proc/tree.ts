import { CharacterDevice, type DeviceBehaviour, FULL, NULL, random, ZERO } from "../files/devices.ts";
import { device, directory, link, type VirtualDirectory, type VirtualNode, virtualStat } from "../files/virtual.ts";
import type { Process } from "../process.ts";
import { processDirectory } from "./process-files.ts";
import { procFiles, sysFiles } from "./system-files.ts";

/** The names of /dev that are ours; all others are the host's. */
function devices(process: Process): VirtualDirectory {
  const memoryDevice = (name: string, major: number, minor: number, behaviour: DeviceBehaviour) => (): VirtualNode => {
    const path = `/dev/${name}`;
    const node = device(major, minor, (flags) => {
      return new CharacterDevice(path, flags, () => virtualStat(process, node, path), behaviour);
    });
    return node;
  };
  // Numbers: Documentation/admin-guide/devices.txt, major 1.
  return directory({
    null: memoryDevice("null", 1, 3, NULL),
    zero: memoryDevice("zero", 1, 5, ZERO),
    full: memoryDevice("full", 1, 7, FULL),
    random: memoryDevice("random", 1, 8, random(process.host)),
    urandom: memoryDevice("urandom", 1, 9, random(process.host)),
    fd: () => link(() => "/proc/self/fd"),
    stdin: () => link(() => "/proc/self/fd/0"),
    stdout: () => link(() => "/proc/self/fd/1"),
    stderr: () => link(() => "/proc/self/fd/2"),
  });
}

function proc(process: Process): VirtualDirectory {
  const pid = String(process.pid);
  const others = [...process.others].map((each) => [String(each.pid), () => processDirectory(each)] as const);
  return directory({
    ...procFiles(process),
    ...Object.fromEntries(others),
    net: () => link(() => "self/net"),
    self: () => link(() => pid),
    "thread-self": () => link(() => `${pid}/task/${pid}`),
  });
}

/** The root of one of the trees that exist only in the machine. @param name "proc", "sys" or "dev" */
export function lookupTree(process: Process, name: string): VirtualNode {
  if (name === "proc") return proc(process);
  return name === "sys" ? sysFiles(process) : devices(process);
}
