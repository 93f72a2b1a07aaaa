import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  resolve: { dedupe: ["react"] }, // askbot-ws is linked from its sources, which have no React beside them
});
