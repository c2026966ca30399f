// The yardstick's programs.

import type { Program } from "./program.ts";
import { DATABASES } from "./tables/databases.ts";
import { DEVELOPMENT } from "./tables/development.ts";
import { DYNAMIC } from "./tables/dynamic.ts";
import { SERVERS } from "./tables/servers.ts";
import { TERMINALS } from "./tables/terminals.ts";
import { TOOLS } from "./tables/tools.ts";

export const PROGRAMS: readonly Program[] = [
  ...SERVERS,
  ...DATABASES,
  ...DEVELOPMENT,
  ...TOOLS,
  ...TERMINALS,
  ...DYNAMIC,
];
