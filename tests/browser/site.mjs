// Uses a site as people do, in a real headless Chromium: with script, without, and a year later.
//
//     node site.mjs CHROMIUM INDEX WORDS
//
// Prints one JSON object: which rows are seen before and after a search, and which are grey.

import {pathToFileURL} from 'node:url'
import {chromium} from 'playwright-core'

const [executablePath, index, words] = process.argv.slice(2)
const browser = await chromium.launch({executablePath, args: ['--no-sandbox', '--disable-gpu']})
const seen = async (page) =>
  page.$$eval('tbody tr', (rows) =>
    rows.filter((row) => row.checkVisibility()).map((row) => [row.querySelector('code').textContent, row.className])
  )
const open = async (options, days) => {
  const context = await browser.newContext(options)
  const page = await context.newPage()
  await page.clock.setFixedTime(new Date(Date.UTC(2026, 5, 20 + days)))
  await page.goto(pathToFileURL(index).href)
  return page
}

const found = {}
const page = await open({}, 0)
found.all = await seen(page)
await page.fill('#find', words)
found.searched = await seen(page)
found.told = await page.textContent('output')
found.linked = await page.$eval('tbody a', (link) => link.href)
found.later = await seen(await open({}, 365))
const plain = await open({javaScriptEnabled: false}, 365)
found.plain = await seen(plain)
found.form = await plain.isVisible('.find')
await browser.close()
console.log(JSON.stringify(found))
