// Larder's tracker for web pages; see app/README.md.
(() => {
	const MOST = 500, MANY = 20, PAUSE = 5000, shown = {};
	let my, timer, observer, pause = PAUSE, flying = [], queue = [];

	const uuid = () => {
		const bytes = crypto.getRandomValues(new Uint8Array(9));
		const random = Array.from(bytes, (n) => (n + 256).toString(16).slice(1)).join("");
		return "0" + Date.now().toString(16) + "7" + random.slice(15) + "8" + random.slice(0, 15);
	};
	// The queue of a site's pages: what was not answered yet.
	const read = () => {
		try {
			queue = JSON.parse(localStorage.larder);
		} catch {}
		return queue;
	};
	const write = (events) => {
		queue = events.slice(-MOST);
		try {
			localStorage.larder = JSON.stringify(queue);
		} catch {}
	};
	const drop = (sent) => write(read().filter(({ id }) => !sent.includes(id)));
	const next = () => {
		let size = 0;
		const fits = (each) => size < 2e4 && (size += JSON.stringify(each).length);
		const events = read().filter((each) => !flying.includes(each.id) && fits(each));
		return { ids: events.map(({ id }) => id), body: JSON.stringify({ key: my.key, events }) };
	};
	const wait = () => (timer ||= setTimeout(flush, pause));
	const flush = async () => {
		clearTimeout(timer);
		timer = 0;
		const { ids, body } = next();
		if (flying[0] || !ids[0]) return;
		flying = ids;
		let done;
		try {
			const { status } = await fetch(my.url, { method: "POST", body, keepalive: body.length < 3e4 });
			done = status < 500 && status != 429;
		} catch {}
		flying = [];
		if (done) drop(ids);
		pause = done ? PAUSE : Math.min(pause * 2, 3e5);
		if (queue[0]) done ? flush() : wait();
	};
	const leave = () => {
		for (let part; navigator.onLine && (part = next()).ids[0]; drop(part.ids))
			if (!navigator.sendBeacon(my.url, part.body)) break;
	};

	const init = (told) => {
		if (!my) {
			addEventListener("pagehide", leave);
			addEventListener("visibilitychange", () => document.hidden && leave());
			addEventListener("online", flush);
		}
		my = { ...told, url: told.url + "/events" };
		flush();
	};
	const track = (type, event) => {
		const { user, session, consent } = my;
		if (consent ? !consent() : navigator.doNotTrack == 1 || navigator.globalPrivacyControl) return;
		write([...read(), { id: uuid(), type, user, session, time: Date.now(), ...event }]);
		next().ids.length < MANY ? wait() : flush();
	};
	const show = ({ dataset: { item, list, position } }) => {
		if (document.hidden || shown[[list, item]]) return;
		shown[[list, item]] = 1;
		track("impression", { item, list, position: +position });
	};
	const watch = (seen) => {
		for (const { target, intersectionRatio } of seen) {
			clearTimeout(target.larder);
			if (intersectionRatio >= 0.5) target.larder = setTimeout(show, 1000, target);
		}
	};
	const impressions = (elements) => {
		observer ||= new IntersectionObserver(watch, { threshold: 0.5 });
		for (const each of elements) observer.observe(each);
	};
	window.larder = { init, track, impressions, flush };
})();
