/** The oldest major version of Node.js that has the WebAssembly which translated code uses. */
const NEEDED = 24;

/** What is wrong with a version of Node.js, in one line; undefined if nothing is. */
export function nodeProblem(version: string): string | undefined {
  if (Number(version.split(".")[0]) >= NEEDED) return undefined;
  const remedy = `install Node.js ${NEEDED} or later, or \`npm install node@${NEEDED}\` and run \`npx goemu\``;
  return `Node.js ${version} is too old (${remedy})`;
}
