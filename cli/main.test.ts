import { describe, expect, it } from "vitest";
import { OTHER_COMMANDS } from "./main.ts";
import { goemu } from "./testing/goemu.ts";

describe("the list of commands", () => {
  it("names every command that is there", () => {
    const { stdout } = goemu(["--help"]);
    const listed = [...stdout.matchAll(/^ {2}([a-z]+) \[/gm)].map(([, name]) => name);
    expect(listed.sort()).toEqual(["help", "run", ...OTHER_COMMANDS].sort());
  });
});
