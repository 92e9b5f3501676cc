import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["engine/**/*.test.ts", "app/**/*.test.ts", "views/**/*.test.ts", "draw/**/*.test.ts", "bench/**/*.test.ts", "scripts/**/*.test.mjs"],
    environment: "node",
  },
});
