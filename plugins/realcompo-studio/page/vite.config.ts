import { defineConfig } from 'vite';

// `npm run dev` serves the page beside a running studio: STUDIO=http://127.0.0.1:PORT STUDIO_TOKEN=… npm run dev
const studio = process.env['STUDIO'] ?? 'http://127.0.0.1:8350';
const token = process.env['STUDIO_TOKEN'];

export default defineConfig({
  base: '/',
  build: {
    outDir: '../realcompo_studio/static',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0, // the page's policy allows no data: scripts or styles
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: { entryFileNames: 'studio.js', chunkFileNames: '[name].js', assetFileNames: '[name][extname]' },
    },
  },
  server: {
    proxy: {
      '/api': {
        target: studio,
        changeOrigin: true,
        ...(token ? { headers: { Authorization: `Bearer ${token}` } } : {}),
        configure: (proxy) => proxy.on('proxyReq', (request) => request.removeHeader('origin')),
      },
    },
  },
  test: { include: ['test/**/*.test.ts'], environment: 'node' },
} as Parameters<typeof defineConfig>[0]);
