import type { HostChild, HostProcesses, InheritedDescriptor, NewProcess } from "../../host/processes.ts";
import { SIG_IGN } from "../abi/signals.ts";
import type { FileDescription } from "../files/description.ts";
import type { FileState } from "../files/file-state.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { Bridge } from "./bridge.ts";

/** The descriptors that survive execve(2), and which of them need a bridge. */
function inheritance(files: FileState): {
  descriptors: InheritedDescriptor[];
  bridged: { fd: number; description: FileDescription }[];
} {
  const descriptors: InheritedDescriptor[] = [];
  const bridged: { fd: number; description: FileDescription }[] = [];
  const first = new Map<FileDescription, number>();
  for (const [fd, { description, closeOnExec }] of files.table.entries()) {
    if (closeOnExec) continue;
    const as = first.get(description);
    if (as !== undefined) {
      descriptors.push({ fd, kind: "same", as });
      continue;
    }
    const inherited = description.inherit();
    if (inherited === undefined) continue;
    first.set(description, fd);
    descriptors.push({ fd, ...inherited });
    if (inherited.kind === "bridge") bridged.push({ fd, description });
  }
  return { descriptors, bridged };
}

/**
 * Starts a program in a process of its own on the host (`--host-exec`).
 * @throws SyscallError if it can't be started
 */
export function startOnHost(
  process: LinuxProcess,
  processes: HostProcesses,
  thread: LinuxThread,
  image: Pick<NewProcess, "by" | "file" | "name" | "argv">,
  envp: readonly string[],
  ended: Parameters<HostProcesses["spawn"]>[1],
): { host: HostChild; bridges: Bridge[] } {
  const { files, signals } = process;
  const { descriptors, bridged } = inheritance(files);
  const ignored: number[] = [];
  for (let signal = 1; signal <= 64; signal++) {
    if (signals.action(signal).handler === BigInt(SIG_IGN)) ignored.push(signal);
  }
  const directory = files.cwd.file?.path() ?? files.cwd.path;
  const detached = process.group !== process.kernel.first.group;
  const host = processes.spawn(
    { ...image, envp, directory, descriptors, detached, ignored, blocked: thread.signalMask },
    ended,
  );
  const bridges = bridged.flatMap(({ fd, description }) => {
    const channel = host.channels.get(fd);
    return channel === undefined ? [] : [new Bridge(description, channel, () => process.wakeUp())];
  });
  return { host, bridges };
}
