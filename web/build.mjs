// Bundle the atlas into the package; with --check, say whether the bundle there is the one that these sources give.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const target = new URL("../src/regard/inspection/pictures/page/", here);
const read = (url) => readFileSync(url, "utf8").replaceAll("\r\n", "\n");

// tests/inspection/pictures/test_bundle.py computes the same, so that an old bundle is found where there is no node.
const sources = readdirSync(new URL("src/", here)).sort();
const digest = createHash("sha256");
for (const name of sources) digest.update(`${name}\n${read(new URL(`src/${name}`, here))}`);
const banner = `/* Built of web/src by web/build.mjs; change it there. Sources: ${digest.digest("hex")} */`;

const bundles = [
  { entry: "page.ts", out: "atlas.js", format: "iife" },
  { entry: "widget.ts", out: "atlas-widget.js", format: "esm" },
  { entry: "atlas.css", out: "atlas.css" },
];

let stale = 0;
for (const { entry, out, format } of bundles) {
  const result = await build({
    entryPoints: [new URL(`src/${entry}`, here).pathname],
    bundle: true,
    write: false,
    minify: true,
    charset: "utf8",
    target: ["chrome103", "firefox113", "safari16.4"],
    banner: { [out.endsWith("css") ? "css" : "js"]: banner },
    ...(format && { format }),
  });
  const made = result.outputFiles[0].text;
  const place = new URL(out, target);
  if (!process.argv.includes("--check")) writeFileSync(place, made);
  else if (read(place) !== made) {
    console.error(`${out} is not what the sources give: run npm run build in web/`);
    stale = 1;
  }
}
process.exit(stale);
