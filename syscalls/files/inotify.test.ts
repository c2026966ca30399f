import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import { errno } from "../abi/errno.ts";
import * as abi from "../abi/fcntl.ts";
import * as notify from "../abi/inotify.ts";
import { POLLIN } from "../abi/poll.ts";
import { FakeProcess } from "./fake-process.ts";

const NAMES: [string, number][] = Object.entries(notify).filter(([name]) => /^IN_[A-Z_]+$/.test(name)) as never;
const EVENTS = NAMES.filter(([, bit]) => (bit & (bit - 1)) === 0);

let p: FakeProcess;
let folder: string;
let fd: number;
beforeEach(() => {
  p = new FakeProcess(new NodeHost());
  folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), "goemu-inotify-")));
  fd = p.call("inotify_init1", abi.O_NONBLOCK);
});
afterEach(() => {
  p.files.close();
  p.dispose();
  fs.rmSync(folder, { recursive: true });
});

const watch = (name: string, mask: number): number => p.call("inotify_add_watch", fd, folder + name, mask >>> 0);

/** Everything that is there to be read: "wd NAME|NAME name", with the same letter for the two of a rename. */
function events(): string[] {
  const buffer = p.room(4096);
  const told: string[] = [];
  for (let count = p.call("read", fd, buffer, 4096); count > 0; count = p.call("read", fd, buffer, 4096)) {
    for (let at = buffer; at < buffer + count; at += 16 + p.memory.readU32(at + 12)) {
      const mask = p.memory.readU32(at + 4);
      const names = EVENTS.filter(([, bit]) => mask & bit).map(([name]) => name.slice(3));
      const name = new TextDecoder().decode(p.memory.readCString(at + 16, 256) ?? new Uint8Array());
      const shown = p.memory.readU32(at + 12) > 0 ? ` ${name}` : "";
      told.push(`${p.memory.readI32(at)} ${names.join("|")}${shown}`);
    }
  }
  return told;
}

function write(name: string, flags = abi.O_CREAT | abi.O_TRUNC): void {
  const file = p.call("openat", abi.AT_FDCWD, folder + name, abi.O_WRONLY | flags, 0o644);
  p.call("write", file, "bytes", 5);
  p.call("close", file);
}

describe("inotify", () => {
  it("tells what the guest does in a directory, in order", () => {
    expect(watch("", notify.IN_ALL_EVENTS)).toBe(1);
    write("/x");
    expect(events()).toEqual(["1 CREATE x", "1 OPEN x", "1 MODIFY x", "1 CLOSE_WRITE x"]);
    write("/x");
    expect(events()).toEqual(["1 OPEN x", "1 MODIFY x", "1 CLOSE_WRITE x"]);
    p.call("mkdir", `${folder}/sub`, 0o755);
    p.call("rename", `${folder}/x`, `${folder}/y`);
    expect(events()).toEqual(["1 CREATE|ISDIR sub", "1 MOVED_FROM x", "1 MOVED_TO y"]);
    const [file, sub] = [watch("/y", notify.IN_ALL_EVENTS), watch("/sub", notify.IN_ALL_EVENTS | notify.IN_ONLYDIR)];
    expect([file, sub]).toEqual([2, 3]);
    p.call("chmod", `${folder}/y`, 0o600);
    expect(events()).toEqual(["1 ATTRIB y", "2 ATTRIB"]);
    p.call("rename", `${folder}/y`, `${folder}/sub/z`);
    expect(events()).toEqual(["1 MOVED_FROM y", "3 MOVED_TO z", "2 MOVE_SELF"]);
    p.call("unlink", `${folder}/sub/z`);
    expect(events()).toEqual(["2 ATTRIB", "2 DELETE_SELF", "2 IGNORED", "3 DELETE z"]);
    p.call("rmdir", `${folder}/sub`);
    expect(events()).toEqual(["3 DELETE_SELF", "3 IGNORED", "1 DELETE|ISDIR sub"]);
    expect(p.call("inotify_rm_watch", fd, 1)).toBe(0);
    expect(events()).toEqual(["1 IGNORED"]);
    expect(p.call("inotify_rm_watch", fd, 1)).toBe(-errno.EINVAL);
  });

  it("an unlinked file ends when it is closed; a one-shot watch after its first event", () => {
    watch("", notify.IN_CREATE | notify.IN_ONESHOT);
    const file = p.call("openat", abi.AT_FDCWD, `${folder}/o`, abi.O_CREAT | abi.O_RDWR, 0o644);
    watch("/o", notify.IN_DELETE_SELF);
    p.call("unlink", `${folder}/o`);
    write("/second");
    expect(events()).toEqual(["1 CREATE o", "1 IGNORED"]);
    p.call("close", file);
    expect(events()).toEqual(["2 DELETE_SELF", "2 IGNORED"]);
  });

  it("tells of the guest's own removal of an open file once, though the host tells of it later", async () => {
    const file = p.call("openat", abi.AT_FDCWD, `${folder}/o`, abi.O_CREAT | abi.O_RDWR, 0o644);
    watch("/o", notify.IN_ATTRIB | notify.IN_DELETE_SELF);
    p.call("unlink", `${folder}/o`);
    expect(events()).toEqual(["1 ATTRIB"]);
    const before = p.wakeUps;
    // The host has told of it when the machine is woken.
    for (let i = 0; i < 5000 && p.wakeUps === before; i++) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(events()).toEqual([]);
    p.call("close", file);
    expect(events()).toEqual(["1 DELETE_SELF", "1 IGNORED"]);
  });

  it("refuses what Linux refuses", () => {
    expect(p.call("inotify_init1", 1)).toBe(-errno.EINVAL);
    expect(watch("", 0)).toBe(-errno.EINVAL);
    expect(watch("/none", notify.IN_OPEN)).toBe(-errno.ENOENT);
    expect(p.call("inotify_add_watch", 0, folder, notify.IN_OPEN)).toBe(-errno.EINVAL);
    watch("", notify.IN_CREATE);
    expect(watch("", notify.IN_MASK_CREATE | notify.IN_OPEN)).toBe(-errno.EEXIST);
    expect(watch("", notify.IN_MASK_ADD | notify.IN_DELETE)).toBe(1);
    write("/f", abi.O_CREAT);
    expect(watch("/f", notify.IN_ONLYDIR | notify.IN_OPEN)).toBe(-errno.ENOTDIR);
    expect(p.call("read", fd, p.room(32), 31)).toBe(-errno.EINVAL);
    p.call("unlink", `${folder}/f`);
    expect(events()).toEqual(["1 CREATE f", "1 DELETE f"]);
  });

  it("tells what other programs do, and the guest's own changes only once", async () => {
    watch("", notify.IN_CREATE | notify.IN_DELETE | notify.IN_MOVE_SELF | notify.IN_MODIFY | 0xc0);
    write("/own");
    expect(events()).toEqual(["1 CREATE own", "1 MODIFY own"]);
    fs.writeFileSync(`${folder}/other`, "bytes");
    const told: string[] = [];
    const until = async (last: string): Promise<void> => {
      for (let i = 0; i < 5000 && !told.includes(last); i++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        told.push(...events());
      }
    };
    await until("1 MODIFY other");
    fs.renameSync(`${folder}/other`, `${folder}/moved`);
    await until("1 MOVED_TO moved");
    fs.rmSync(`${folder}/moved`);
    await until("1 DELETE moved");
    expect(told.filter((event, i) => event !== told[i - 1])).toEqual([
      ...["1 CREATE other", "1 MODIFY other", "1 MOVED_FROM other", "1 MOVED_TO moved", "1 DELETE moved"],
    ]);
    const at = p.put(new Uint8Array(8));
    p.memory.writeU32(at, fd);
    p.memory.writeU16(at + 4, POLLIN);
    expect(p.call("poll", at, 1, 0)).toBe(0);
  });
});
