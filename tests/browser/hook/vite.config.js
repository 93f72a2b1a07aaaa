/** React's own checks (strict mode mounts everything twice) are in its development build only. */
import { fileURLToPath } from "node:url";

const path = (name) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));

export default {
  resolve: {
    alias: Object.fromEntries(["react", "react-dom"].map((name) => [name, path(`tests/js/node_modules/${name}`)])),
  },
  build: { minify: false },
};
