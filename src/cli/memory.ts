/** `shoal memory`: a machine's pages by state, drawn as a map; or the story of one of them. */
import { Command, type CommandUnknownOpts } from '@commander-js/extra-typings';
import type { MemoryMap, PageExplanation } from '../host/index.ts';
import { connect } from './connection.ts';
import { drawMap } from './memory-map.ts';
import { printJson } from './table.ts';

export function memoryCommand(): CommandUnknownOpts {
  return new Command('memory')
    .summary('show a machine’s pages by state, or why one page is as it is')
    .description(
      'Draws a map of a machine’s RAM by page state. With a page (a guest-physical address such as 0x80200000, or page:512): why it is, or is not, shared, and who else has it. The machine runs on meanwhile, so both are near, not exact.',
    )
    .argument('<machine>', 'name or id')
    .argument('[page]', 'guest-physical address 0x…, or page:N counted from the begin of RAM')
    .option('--json', 'everything as one line of JSON')
    .action(async (machine, page, { json }) => {
      const vm = await (await connect()).vm(machine);
      if (page === undefined) {
        const map = await vm.memoryMap();
        if (json) printJson({ vm: vm.name, ...map });
        else process.stdout.write(renderMap(vm.name, map));
      } else {
        const explanation = await vm.explainPage(page);
        if (json) printJson(explanation);
        else process.stdout.write(renderPage(explanation));
      }
    });
}

function renderMap(name: string, map: MemoryMap): string {
  return `${drawMap(name, map, process.stdout.columns || 80, process.stdout.hasColors?.() ?? false).join('\n')}\n`;
}

/** One page, a fact a line. */
function renderPage(page: PageExplanation): string {
  const { frame, image } = page;
  const lines = [
    `${page.vm} ${page.address}  page:${page.page}  ${page.state}`,
    '',
    page.explanation,
    '',
    page.writtenInEpoch === null
      ? `written: not since the machine began (epoch ${page.epoch})`
      : `written: in epoch ${page.writtenInEpoch} of ${page.epoch}, quiet for ${page.quietEpochs}`,
  ];
  if (page.leaf === 'forked') lines.push('table:   shared with forks of this machine');
  if (frame !== null) {
    const references = `${frame.references} reference${frame.references === 1 ? '' : 's'}`;
    lines.push(
      `frame:   ${frame.number} in chunk ${frame.chunk}, ${references}, generation ${frame.generation}${frame.code ? ', has decoded code' : ''}`,
    );
    if (image !== null) lines.push(`file:    ${image.path}, byte ${image.offset}`);
    if (page.holders.length === 0) lines.push('also in: no other page of a machine');
    for (const [index, holder] of page.holders.entries())
      lines.push(`${index === 0 ? 'also in:' : '        '} ${holder.vm} ${holder.address}`);
    if (page.moreHolders) lines.push('         and more');
  }
  return `${lines.join('\n')}\n`;
}
