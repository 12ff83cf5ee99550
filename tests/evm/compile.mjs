// Compiles contracts/ with solc-js and prints, per contract, its ABI, its creation code (hex) and
// the offsets of immutables in its runtime code:
//
//     npm run --silent compile > contracts/compiled.json
//
// Compiler and settings are those of the deployed proxies (0.8.22, optimizer 200, paris).
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, "contracts");
const wanted = {
  "App.sol": ["AppG3", "AppG5", "AppG6", "EvilApp"],
  "Kms.sol": ["KmsG3", "KmsG5", "KmsG6"],
  "Safe.sol": ["Safe13", "Safe14"],
  "TimelockApp.sol": ["TimelockApp"],
  "@openzeppelin/contracts/governance/TimelockController.sol": ["TimelockController"],
  "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol": ["ERC1967Proxy"],
};

const library = (path) => readFileSync(join(here, "node_modules", path), "utf8");
const sources = {};
for (const name of readdirSync(folder).filter((name) => name.endsWith(".sol"))) {
  sources[name] = { content: readFileSync(join(folder, name), "utf8") };
}
for (const path of Object.keys(wanted).filter((path) => path.startsWith("@"))) {
  sources[path] = { content: library(path) };
}

const outputs = ["abi", "evm.bytecode.object", "evm.deployedBytecode.immutableReferences"];
const settings = {
  evmVersion: "paris",
  optimizer: { enabled: true, runs: 200 },
  outputSelection: Object.fromEntries(
    Object.entries(wanted).map(([path, names]) => [
      path,
      Object.fromEntries(names.map((name) => [name, outputs])),
    ]),
  ),
};
const input = JSON.stringify({ language: "Solidity", sources, settings });
const resolve = (path) => {
  try {
    return { contents: library(path) };
  } catch {
    return { error: `${path} is not installed` };
  }
};
const output = JSON.parse(solc.compile(input, { import: resolve }));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
if (errors.length > 0) {
  console.error(errors.map((error) => error.formattedMessage).join("\n"));
  process.exit(1);
}

const compiled = {};
for (const [path, names] of Object.entries(wanted)) {
  for (const name of names) {
    const { abi, evm } = output.contracts[path][name];
    const places = Object.values(evm.deployedBytecode.immutableReferences ?? {}).flat();
    compiled[name] = {
      abi,
      bytecode: evm.bytecode.object,
      immutables: places.map((place) => place.start).sort((a, b) => a - b),
    };
  }
}
const lines = Object.keys(compiled)
  .sort()
  .map((name) => `${JSON.stringify(name)}:${JSON.stringify(compiled[name])}`);
process.stdout.write(`{\n${lines.join(",\n")}\n}\n`);
