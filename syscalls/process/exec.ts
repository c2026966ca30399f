import type { HostFile } from "../../host/host.ts";
import type { NewProcess } from "../../host/processes.ts";
import type { FileSource } from "../../loader/bytes.ts";
import { type Executable, readExecutable } from "../../loader/elf.ts";
import { LoadError } from "../../loader/errors.ts";
import { SyscallError } from "../abi/errno.ts";
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_RDONLY, X_OK } from "../abi/fcntl.ts";
import { SI_USER, SIGNAL } from "../abi/signals.ts";
import { S_IFLNK, S_IFMT, S_IFREG } from "../abi/stat.ts";
import type { Args } from "../args.ts";
import type { SyscallResult } from "../block.ts";
import type { FileDescription } from "../files/description.ts";
import { bytesToPath, pathToBytes, textToPath } from "../files/path.ts";
import { hostPath, readPath, resolve } from "../files/resolve.ts";
import { sourceOf } from "../image.ts";
import { exitThread, releaseMm } from "../kernel/end.ts";
import { CacheError, loadProgram, type ProgramStart } from "../kernel/load.ts";
import type { Mm } from "../kernel/mm.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { EVENT } from "../ptrace/traced.ts";
import { startOnHost } from "./host-exec.ts";

/** The kernel reads so much of a file to find out what it is (include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE). */
const HEAD = 256;
/** Longest single argument, and most bytes of all (MAX_ARG_STRLEN; a quarter of an 8 MiB stack). */
const MAX_ARG = 0x2_0000;
const MAX_ARGS = 0x20_0000;
/** Scripts whose interpreters are scripts (fs/exec.c, exec_binprm). */
const MAX_DEPTH = 5;

/** A file to be run, open. */
interface ExecutableFile {
  /** Its absolute path, without symbolic links. */
  readonly path: string;
  readonly source: FileSource;
  /** The host's file behind it. */
  readonly host: HostFile | undefined;
  close(): void;
}

/** What is to be run, once scripts have been replaced by their interpreters. */
interface Image {
  readonly file: ExecutableFile;
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

/** Opens what a path names, to be run (fs/exec.c, do_open_execat). @throws SyscallError */
function openFile(process: LinuxProcess, dirfd: number, path: string, follow: boolean): ExecutableFile {
  const place = resolve(process, dirfd, path, follow);
  if (place.kind === "host") return openOnHost(process, place.path, follow);
  if (place.node.kind !== "magic") throw new SyscallError("EACCES");
  return ofDescription(process, place.node.description());
}

/** What an open file has, to be run. @throws SyscallError EACCES for what is no regular file */
function ofDescription(process: LinuxProcess, description: FileDescription): ExecutableFile {
  const { host, mappable: file } = description;
  if (host !== undefined) return openOnHost(process, host.prefix, true);
  if (file === undefined || (description.stat().mode & S_IFMT) !== S_IFREG) throw new SyscallError("EACCES");
  description.acquire();
  const read = (into: Uint8Array, offset: number): number => file.readAt(into, offset);
  const source = { size: Number(file.stat().size), read };
  return { path: file.path, source, host: undefined, close: () => description.release() };
}

function openOnHost(process: LinuxProcess, path: string, follow: boolean): ExecutableFile {
  const { files } = process.host;
  const { mode } = files.stat(path, follow);
  if ((mode & S_IFMT) === S_IFLNK) throw new SyscallError("ELOOP");
  if ((mode & S_IFMT) !== S_IFREG) throw new SyscallError("EACCES");
  files.access(path, X_OK);
  const host = files.open(path, O_RDONLY, 0);
  return { path: files.realPath(path), source: sourceOf(host), host, close: () => host.close() };
}

/** Finds out what is to be run (fs/exec.c, search_binary_handler). @throws SyscallError */
function findImage(process: LinuxProcess, file: ExecutableFile, path: string, argv: readonly string[]): Image {
  let image: Image = { file, argv };
  let name = path;
  try {
    for (let depth = 0; ; depth++) {
      const head = new Uint8Array(HEAD);
      const length = image.file.source.read(head, 0);
      const text = bytesToPath(head.subarray(0, length));
      if (!text.startsWith("#!")) return image;
      if (depth === MAX_DEPTH) throw new SyscallError("ELOOP");
      const { interpreter, argument } = parseScript(text);
      const rest = [name, ...image.argv.slice(1)];
      const next = [interpreter, ...(argument === undefined ? [] : [argument]), ...rest];
      const opened = openFile(process, AT_FDCWD, interpreter, true);
      image.file.close();
      image = { file: opened, argv: next };
      name = interpreter;
    }
  } catch (error) {
    image.file.close();
    throw error;
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

/** Parses an executable. @throws SyscallError ENOEXEC, ENOENT for an interpreter that is not there */
function parse(process: LinuxProcess, file: ExecutableFile): Executable {
  try {
    const executable = readExecutable(file.source, file.path);
    const { needsInterpreter, interpreter } = executable;
    if (needsInterpreter && interpreter !== undefined) {
      process.host.files.stat(interpreterOf(process, executable) ?? textToPath(interpreter), true);
    }
    return executable;
  } catch (error) {
    if (error instanceof LoadError) throw new SyscallError("ENOEXEC");
    throw error;
  }
}

/** Where the interpreter of a program is for a process with a root of its own. @throws SyscallError */
function interpreterOf(process: LinuxProcess, executable: Executable): string | undefined {
  const { interpreter } = executable;
  if (process.files.root === undefined || interpreter === undefined) return undefined;
  return hostPath(process, AT_FDCWD, textToPath(interpreter), true);
}

/** The address space of a new program. @throws SyscallError */
function load(process: LinuxProcess, start: ProgramStart): Mm {
  try {
    return loadProgram(process.kernel, start);
  } catch (error) {
    if (error instanceof CacheError) return load(process, { ...start, cache: undefined });
    if (!(error instanceof LoadError)) throw error;
    throw new SyscallError(error.kind === "dynamic" ? "ELIBBAD" : "ENOEXEC");
  }
}

/** What execve(2) and execveat(2) are asked for. */
interface Request {
  readonly file: ExecutableFile;
  /** The path by which the program is called: AT_EXECFN, and the argument of a script's interpreter. */
  readonly name: string;
  readonly argv: readonly string[];
  readonly envp: readonly string[];
}

function execute(process: LinuxProcess, thread: LinuxThread, { file, name, argv, envp }: Request): SyscallResult {
  const { kernel } = process;
  // Linux gives a program without arguments an empty one (fs/exec.c, do_execveat_common).
  const image = findImage(process, file, name, argv.length === 0 ? [""] : argv);
  if (kernel.hostExec) return executeOnHost(process, thread, image, name, envp);
  let mm: Mm;
  try {
    const { host } = image.file;
    const executable = parse(process, image.file);
    mm = load(process, {
      executable,
      interpreter: interpreterOf(process, executable),
      path: pathToBytes(name),
      exePath: new TextDecoder().decode(pathToBytes(image.file.path)),
      argv: image.argv.map(pathToBytes),
      envp: envp.map(pathToBytes),
      ids: process,
      cache: host && kernel.programs.cacheOf?.(host),
      close: () => image.file.close(),
    });
  } catch (error) {
    image.file.close();
    throw error;
  }
  enterProgram(process, thread, mm, bytesToText(name));
  // The turn goes on with another CPU state: it is another turn.
  kernel.scheduler.yieldCurrent();
  return 0;
}

/** Name of a program without directories, cut to TASK_COMM_LEN. */
const commandName = (path: string): string => path.slice(path.lastIndexOf("/") + 1).slice(0, 15);
const bytesToText = (path: string): string => new TextDecoder().decode(pathToBytes(path));

/** A process becomes a program: nothing of what it was can fail any more (fs/exec.c, begin_new_exec()). */
function enterProgram(process: LinuxProcess, thread: LinuxThread, mm: Mm, path: string): void {
  const { kernel } = process;
  for (const each of process.threads) exitThread(each);
  const { tid } = thread;
  process.becomeLeader(thread);
  // Who looked at the program before has nothing to look at any more.
  process.observer = undefined;
  process.supervisor = undefined;
  process.execute = undefined;
  process.onSwitch = undefined;
  const before = process.mm;
  before.giveCpu(thread.cpu);
  process.mm = mm;
  mm.users++;
  releaseMm(kernel, before);
  process.limitMemory();
  kernel.timekeeping.publishAt(mm.memory, mm.vvar);
  thread.enterProgram(mm.takeCpu(), mm.program, commandName(path));
  process.credentials.execute();
  process.signals.execute();
  process.timers.deleteAll();
  process.files.execute();
  process.self.exitSignal = SIGNAL.SIGCHLD;
  process.hasExecuted = true;
  process.released?.();
  const { traced } = thread;
  if (traced?.has(EVENT.EXEC)) traced.event(EVENT.EXEC, tid);
  else if (traced !== undefined && !traced.isLeft) thread.pending.push({ signal: SIGNAL.SIGTRAP, code: SI_USER });
}

/** Runs a program on the host, in a process of its own which takes this one's place (`--host-exec`). */
function executeOnHost(
  process: LinuxProcess,
  thread: LinuxThread,
  image: Image,
  name: string,
  envp: readonly string[],
): SyscallResult {
  const { kernel } = process;
  const { processes } = process.host;
  try {
    if (processes === undefined) throw new SyscallError("ENOSYS");
    if (image.file.host === undefined) throw new SyscallError("EACCES");
    const by = kindOf(image.file, processes.native);
    const request = { by, file: image.file.path, name, argv: image.argv };
    const { host, bridges } = startOnHost(process, processes, thread, request, envp, (status, usage) =>
      process.endAs(status, usage),
    );
    // A parent that has not been told the number yet sees the one that the program sees itself.
    if (process.released !== undefined) kernel.renumber(process, host.pid);
    process.strace?.leave(process, thread, 0);
    process.replacedBy(host, bridges);
    return 0;
  } finally {
    image.file.close();
  }
}

/**
 * Who runs an executable on the host: goemu what is static; programs that need a dynamic linker, or are 32-bit ones, the
 * host, if it is a Linux on x86-64.
 * @throws SyscallError ENOEXEC
 */
function kindOf(file: ExecutableFile, native: boolean): NewProcess["by"] {
  try {
    return readExecutable(file.source, file.path).needsInterpreter && native ? "host" : "goemu";
  } catch (error) {
    if (!(error instanceof LoadError)) throw error;
    if (native && ["shared-library", "elf32"].includes(error.kind)) return "host";
    throw new SyscallError("ENOEXEC");
  }
}

/** execve(2). */
export function execve(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const name = readPath(process, args.address(0));
  const argv = readStrings(process, args.address(1));
  const envp = readStrings(process, args.address(2));
  return execute(process, thread, { file: openFile(process, AT_FDCWD, name, true), name, argv, envp });
}

/** execveat(2): relative to a directory, or what a descriptor has itself. */
export function execveat(process: LinuxProcess, thread: LinuxThread, args: Args): SyscallResult {
  const [dirfd, flags] = [args.i32(0), args.u32(4)];
  if (flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) throw new SyscallError("EINVAL");
  const path = readPath(process, args.address(1));
  const argv = readStrings(process, args.address(2));
  const envp = readStrings(process, args.address(3));
  const isDescriptor = path === "" && (flags & AT_EMPTY_PATH) !== 0 && dirfd !== AT_FDCWD;
  const file = isDescriptor
    ? ofDescription(process, process.files.table.get(dirfd))
    : openFile(process, dirfd, path, !(flags & AT_SYMLINK_NOFOLLOW));
  // By what a script's interpreter opens it again (fs/exec.c, alloc_bprm).
  const isPlain = dirfd === AT_FDCWD || path.startsWith("/");
  const name = isPlain ? path : `/dev/fd/${dirfd}${path === "" ? "" : `/${path}`}`;
  return execute(process, thread, { file, name, argv, envp });
}
