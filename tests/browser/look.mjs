// Opens pages in a real headless Chromium, as files, at several widths, light, dark and on paper.
//
//     node look.mjs CHROMIUM SCREENSHOTS PAGE...      SCREENSHOTS: a directory, or - for none
//
// Prints one JSON object: for each page what it asked for, what it ran or complained about, what axe
// finds, and which widths it overflows.

import {readFileSync} from 'node:fs'
import {createRequire} from 'node:module'
import {basename, join} from 'node:path'
import {pathToFileURL} from 'node:url'
import {chromium} from 'playwright-core'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const WIDTHS = [360, 820, 1280]
const [executablePath, screenshots, ...pages] = process.argv.slice(2)
const found = {}

const browser = await chromium.launch({executablePath, args: ['--no-sandbox', '--disable-gpu']})
for (const path of pages) {
  const seen = {requests: [], messages: [], dialogs: 0, popups: 0, ran: false, violations: [], overflows: []}
  found[basename(path)] = seen
  const url = pathToFileURL(path).href
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({colorScheme})
    await context.exposeFunction('__ran', () => {
      seen.ran = true
    })
    const page = await context.newPage()
    page.on('request', (request) => request.url() === url || seen.requests.push(request.url()))
    page.on('console', (message) => seen.messages.push(message.text()))
    page.on('pageerror', (error) => seen.messages.push(String(error)))
    page.on('popup', () => seen.popups++)
    page.on('dialog', (dialog) => {
      seen.dialogs++
      dialog.dismiss()
    })
    for (const width of WIDTHS) {
      await page.setViewportSize({width, height: 900})
      await page.goto(url, {waitUntil: 'load'})
      seen.title = await page.title()
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth)
      if (wide) seen.overflows.push(width)
      if (screenshots !== '-' && colorScheme === 'light') {
        const name = `${basename(path, '.html')}-${width}.png`
        await page.screenshot({path: join(screenshots, name)})
      }
    }
    // Everything that is folded away is read too.
    await page.evaluate(() => document.querySelectorAll('details').forEach((item) => (item.open = true)))
    await page.evaluate(AXE)
    const result = await page.evaluate(() => axe.run(document, {resultTypes: ['violations']}))
    for (const {id, impact, nodes} of result.violations)
      seen.violations.push({id, impact, colorScheme, where: nodes.slice(0, 3).map((node) => node.target.join(' '))})
    seen.printed = (await page.pdf()).length
    await context.close()
  }
}
await browser.close()
console.log(JSON.stringify(found))
