// Who is at the other end of a Unix domain socket, where that is a program of the host.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { NodeHost } from "../../host/node/host.ts";
import { NO_CREDENTIALS, whoConnects, whoListens } from "./outside-peer.ts";

const folder = mkdtempSync(join(tmpdir(), "goemu-peer-"));
afterAll(() => rmSync(folder, { recursive: true }));
const { files } = new NodeHost();
const { uid, gid } = statSync(folder);
const us = { pid: 0, uid, gid };

function socket(directory: number, file: number): string {
  const inside = join(folder, `${directory.toString(8)}-${file.toString(8)}`);
  mkdirSync(inside);
  const path = join(inside, "socket");
  writeFileSync(path, "");
  chmodSync(path, file);
  chmodSync(inside, directory);
  return path;
}

describe("who connects from the host", () => {
  // The folder of the test would decide, else.
  chmodSync(folder, 0o755);

  it("is the user where nobody else may", () => {
    const user = { euid: uid, gid };
    expect(whoConnects(files, socket(0o755, 0o700), user)).toEqual(us);
    expect(whoConnects(files, socket(0o755, 0o755), user)).toEqual(us);
    expect(whoConnects(files, socket(0o700, 0o777), user)).toEqual(us);
  });

  it("can't be told where others may, or where it is not the user's", () => {
    expect(whoConnects(files, socket(0o755, 0o777), { euid: uid, gid })).toEqual(NO_CREDENTIALS);
    expect(whoConnects(files, socket(0o711, 0o722), { euid: uid, gid })).toEqual(NO_CREDENTIALS);
    expect(whoConnects(files, socket(0o700, 0o770), { euid: uid + 1, gid })).toEqual(NO_CREDENTIALS);
    expect(whoConnects(files, join(folder, "nothing"), { euid: uid, gid })).toEqual(NO_CREDENTIALS);
  });
});

it("who listens on the host is who has made the socket", () => {
  expect(whoListens(files, socket(0o750, 0o750))).toEqual(us);
  expect(whoListens(files, join(folder, "nothing"))).toEqual(NO_CREDENTIALS);
});
