(() => {
  const rows = [...document.querySelectorAll('[data-until]')]
  const now = Date.now() / 1000
  for (const row of rows) if (Number(row.dataset.until) < now) row.classList.add('old')
  const find = document.querySelector('.find')
  if (!find) return
  find.hidden = false
  const field = find.querySelector('input'), told = find.querySelector('output')
  const apps = rows.map((row) => [row, row.textContent.toLowerCase()])
  field.addEventListener('input', () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean)
    let shown = 0
    for (const [row, text] of apps) {
      row.hidden = !words.every((word) => text.includes(word))
      if (!row.hidden) shown += 1
    }
    told.textContent = words.length ? `${shown} of ${apps.length} apps` : ''
  })
})()
