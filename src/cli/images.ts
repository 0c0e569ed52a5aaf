/** `shoal images`: what machines start from. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import * as store from '../host/images.ts';
import { formatSize } from '../host/size.ts';
import { Progress } from './progress.ts';
import { formatAge, printJson, printTable } from './table.ts';

export function imagesCommand(): CommandUnknownOpts {
  const command = new Command('images')
    .summary('build, list, import, export and remove images')
    .description('Images are what machines start from. Building needs apt and a network; the other verbs need neither.');
  command
    .command('list', { isDefault: true })
    .description('list the images that are here, and those that can be built')
    .option('--json', 'one line of JSON')
    .action(async ({ json }) => {
      const images = await store.listImages();
      if (json) printJson(images);
      else await printImages(images);
    });
  command
    .command('build')
    .description('build an image from the current packages of Debian')
    .argument('[name]', 'image to build', 'debian-mini')
    .option('--force', 'also if it is here')
    .action(async (name, { force }) => {
      await withProgress((options) => store.buildImage(name, { ...options, force: force === true }));
      process.stdout.write(`${name}\n`);
    });
  command
    .command('import')
    .description('take an image from a file that `images export` wrote')
    .argument('<file>')
    .action(async (file) => {
      const image = await withProgress((options) => store.importImage(file, options));
      process.stdout.write(`${image.name}\n`);
    });
  command
    .command('export')
    .description('write an image to a file, for machines without apt')
    .argument('<name>')
    .argument('<file>')
    .action(async (name, file) => {
      await withProgress((options) => store.exportImage(name, file, options));
      process.stdout.write(`${file}\n`);
    });
  command
    .command('remove')
    .alias('rm')
    .description('delete images')
    .argument('<name...>')
    .action(async (names) => {
      for (const name of names) await store.removeImage(name);
    });
  return command;
}

/** Ctrl-C while an image is made leaves nothing half made. */
async function withProgress<T>(
  work: (options: { onProgress: Progress['onBuild']; signal: AbortSignal }) => Promise<T>,
): Promise<T> {
  const progress = new Progress();
  const controller = new AbortController();
  const interrupt = (): void => controller.abort();
  process.once('SIGINT', interrupt);
  try {
    return await work({ onProgress: progress.onBuild, signal: controller.signal });
  } finally {
    progress.clear();
    process.off('SIGINT', interrupt);
  }
}

async function printImages(images: Awaited<ReturnType<typeof store.listImages>>): Promise<void> {
  const rows = images.map((image) => [
    image.name,
    formatSize(image.bytes),
    image.kernelRelease,
    formatAge(Date.parse(image.created)),
    image.description,
  ]);
  const here = new Set(images.map((image) => image.name));
  const missing = (await store.imageRecipes()).filter((recipe) => !here.has(recipe.name));
  for (const { name, description } of missing) rows.push([name, '-', '-', 'not built', description]);
  printTable([['NAME', 'SIZE', 'KERNEL', 'AGE', 'WHAT'], ...rows]);
}
