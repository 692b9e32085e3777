// A producer in JavaScript: node producer.mjs [URL] [STEPS]. Needs Node 18 or newer, and nothing else.
//
// Rows are gathered for a moment and sent as one batch. Each batch has a number, and is sent again with the same number until
// it is acknowledged: the endpoint stores it once, however often it arrives. Open the page `runs` to watch.
const [url = "http://localhost:8080", steps = "200"] = process.argv.slice(2)
const api = `${url}/api/v1`, token = process.env.STREAMVIS_TOKEN
const headers = {"Content-Type": "application/json", ...(token && {Authorization: `Bearer ${token}`})}
const pause = (ms) => new Promise((go) => setTimeout(go, ms))

class Producer {
  #waiting = []
  #number = 0
  #name = `js-${crypto.randomUUID()}`

  static async start(app, config) {
    const made = new Producer()
    made.run = (await made.#ask("POST", "/runs", {app, config})).run
    return made
  }

  // One row of a key: {column: number}. Sent with the next flush.
  row(step, key, data) { this.#waiting.push({kind: "rows", step, time: Date.now() / 1000, key, data}) }

  // A key's value at a step: numbers, arrays of any shape, texts.
  value(step, key, data) { this.#waiting.push({kind: "value", step, time: Date.now() / 1000, key, data}) }

  async flush() {
    if (this.#waiting.length == 0) return
    const records = this.#waiting
    this.#waiting = []
    await this.#ask("POST", `/runs/${this.run}/batches`, {producer: this.#name, number: ++this.#number, records})
  }

  async finish(state = "finished") {
    await this.flush()
    await this.#ask("POST", `/runs/${this.run}/finish`, {state})
  }

  async rows(key) { return this.#ask("GET", `/runs/${this.run}/rows?key=${encodeURIComponent(key)}`) }

  async #ask(method, path, body) {
    for (let wait_ms = 200; ; wait_ms = Math.min(5000, 2 * wait_ms)) {
      let answer = null
      try {
        answer = await fetch(api + path, {method, headers, body: body && JSON.stringify(body)})
      } catch { /* the endpoint is away */ }
      if (answer?.ok) return answer.json()
      // Away, busy or restarting: the same again. Anything else would be refused again, too.
      if (answer && answer.status < 500 && ![408, 429].includes(answer.status)) throw new Error(await answer.text())
      await pause(wait_ms)
    }
  }
}

const producer = await Producer.start("javascript", {language: "JavaScript", lr: 0.1})
for (let step = 0; step < Number(steps); step++) {
  producer.row(step, "train", {loss: Math.exp(-step / 50) + 0.02 * Math.random(), rate: 0.1 / (1 + step / 100)})
  if (step % 50 == 0) producer.value(step, "weights", {matrix: [[step, 1], [2, 3]]})
  if (step % 20 == 19) {
    await producer.flush()
    await pause(20)
  }
}
await producer.finish()
const {steps: stored, columns} = await producer.rows("train")
console.log(`The run ${producer.run} has ${stored.length} rows; the last loss is ${columns.loss.data.at(-1).toFixed(4)}.`)
