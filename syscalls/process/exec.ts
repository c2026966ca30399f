import type { HostFile } from "../../host/host.ts";
import type { HostChild, HostProcesses, InheritedDescriptor, NewProcess } from "../../host/processes.ts";
import { readExecutable } from "../../loader/elf.ts";
import { LoadError } from "../../loader/errors.ts";
import { SyscallError } from "../abi/errno.ts";
import { AT_FDCWD, O_RDONLY, X_OK } from "../abi/fcntl.ts";
import { SIG_IGN } from "../abi/signals.ts";
import { S_IFMT, S_IFREG } from "../abi/stat.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { FileDescription } from "../files/description.ts";
import type { FileState } from "../files/file-state.ts";
import { bytesToPath } from "../files/path.ts";
import { readPath, resolve } from "../files/resolve.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { Bridge } from "./bridge.ts";
import type { Child } from "./children.ts";

/** The kernel reads so much of a file to find out what it is (include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE). */
const HEAD = 256;
/** Longest single argument, and most bytes of all (MAX_ARG_STRLEN; a quarter of an 8 MiB stack). */
const MAX_ARG = 0x2_0000;
const MAX_ARGS = 0x20_0000;
/** Scripts whose interpreters are scripts (fs/exec.c, exec_binprm). */
const MAX_DEPTH = 5;

/** What is to be run, once scripts have been replaced by their interpreters. */
interface Image {
  readonly by: NewProcess["by"];
  readonly file: string;
  readonly name: string;
  readonly argv: readonly string[];
}

/** A vector of strings, ended by a null pointer. @throws GuestFault, SyscallError E2BIG */
function readStrings(process: LinuxProcess, address: number): string[] {
  const strings: string[] = [];
  if (address === 0) return strings;
  let total = 0;
  for (let at = address; ; at += 8) {
    const pointer = process.memory.readPointer(at);
    if (pointer === 0) return strings;
    const bytes = process.memory.readCString(pointer, MAX_ARG);
    total += (bytes?.length ?? MAX_ARG) + 9;
    if (bytes === undefined || total > MAX_ARGS) throw new SyscallError("E2BIG");
    strings.push(bytesToPath(bytes));
  }
}

/** Where a path argument leads on the host. @throws SyscallError EACCES for what is no file of the host's */
function hostFile(process: LinuxProcess, path: string): string {
  const place = resolve(process, AT_FDCWD, path, true);
  if (place.kind === "host") return place.path;
  if (place.node.kind === "magic") {
    const description = place.node.description();
    if (description.host !== undefined) return description.host.prefix;
  }
  throw new SyscallError("EACCES");
}

/** Finds out what is to be run (fs/exec.c, do_open_execat and search_binary_handler). @throws SyscallError */
function findImage(process: LinuxProcess, native: boolean, path: string, argv: readonly string[], depth = 0): Image {
  if (depth > MAX_DEPTH) throw new SyscallError("ELOOP");
  const { files } = process.host;
  const onHost = hostFile(process, path);
  if ((files.stat(onHost, true).mode & S_IFMT) !== S_IFREG) throw new SyscallError("EACCES");
  files.access(onHost, X_OK);
  const file = files.realPath(onHost);
  let opened: HostFile;
  try {
    opened = files.open(file, O_RDONLY, 0);
  } catch (error) {
    // The host may run what it does not let us read.
    if (native && error instanceof SyscallError && error.message === "EACCES")
      return { by: "host", file, name: path, argv };
    throw error;
  }
  try {
    const head = new Uint8Array(HEAD);
    const length = opened.read(head, 0);
    const text = bytesToPath(head.subarray(0, length));
    if (!text.startsWith("#!")) return { by: kindOf(opened, path, native), file, name: path, argv };
    const { interpreter, argument } = parseScript(text);
    const rest = [path, ...argv.slice(1)];
    const next = [interpreter, ...(argument === undefined ? [] : [argument]), ...rest];
    return findImage(process, native, interpreter, next, depth + 1);
  } finally {
    opened.close();
  }
}

/** The first line of a script (fs/binfmt_script.c, load_script). @throws SyscallError ENOEXEC */
function parseScript(text: string): { interpreter: string; argument: string | undefined } {
  const end = text.indexOf("\n");
  const line = text.slice(2, end < 0 ? undefined : end).replace(/\0.*/s, "");
  const match = /^[ \t]*([^ \t]+)(?:[ \t]+(.*?))?[ \t]*$/.exec(line);
  // Without an end of the line the name of the interpreter may have been cut off.
  if (match === null || (end < 0 && text.length === HEAD && match[2] === undefined)) throw new SyscallError("ENOEXEC");
  return { interpreter: match[1], argument: match[2] === "" ? undefined : match[2] };
}

/**
 * Who runs an executable: goemu what it can; programs that need a dynamic linker, or are 32-bit ones, the host, if it is
 * a Linux on x86-64 (as a host with qemu-user runs its own programs natively).
 * @throws SyscallError ENOEXEC
 */
function kindOf(file: HostFile, path: string, native: boolean): NewProcess["by"] {
  try {
    const { size } = file.stat();
    const { needsInterpreter } = readExecutable({ size, read: (into, offset) => file.read(into, offset) }, path);
    return needsInterpreter && native ? "host" : "goemu";
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    if (native && ["shared-library", "elf32"].includes(error.kind)) return "host";
    throw new SyscallError("ENOEXEC");
  }
}

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

function startOnHost(
  process: LinuxProcess,
  processes: HostProcesses,
  thread: LinuxThread,
  image: Image,
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
  const detached = thread.vfork?.detached ?? false;
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

/**
 * execve(2). The new program always runs in a process of its own on the host: in a child's case that is the child, else
 * this process ends as that one does.
 * @throws SyscallError ENOSYS where the host has no processes
 */
export function execve(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const path = readPath(process, args.address(0));
  const argv = readStrings(process, args.address(1));
  const envp = readStrings(process, args.address(2));
  const { processes } = process.host;
  if (processes === undefined) throw new SyscallError("ENOSYS");
  // Linux gives a program without arguments an empty one (fs/exec.c, do_execveat_common).
  const image = findImage(process, processes.native, path, argv.length === 0 ? [""] : argv);
  const { vfork } = thread;
  if (vfork === undefined) {
    const { host, bridges } = startOnHost(process, processes, thread, image, envp, (status) => process.endAs(status));
    process.replacedBy(host, bridges);
    return 0;
  }
  const child: Child = vfork.child;
  const { host, bridges } = startOnHost(process, processes, thread, image, envp, (status, usage) =>
    process.children.ended(child, status, usage),
  );
  process.children.started(child, host);
  child.bridges = bridges;
  process.strace?.leave(process, thread, 0);
  process.releaseParent(thread);
  return 0;
}
