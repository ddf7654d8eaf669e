// The map of a block: shows what belongs to the chosen policy. What that is stands in the page; nothing is computed here.
(() => {
  function start(root) {
    const form = root.querySelector("form");
    const parts = [...root.querySelectorAll("[data-in]")].map((part) => [part, part.dataset.in.split(" ")]);
    const policies = [...form.elements.policy].map((input) => input.value);

    function show(policy) {
      for (const [part, shown] of parts) part.classList.toggle("is-off", !shown.includes(policy));
      root.dataset.policy = policy;
    }

    form.addEventListener("input", () => {
      show(form.elements.policy.value);
      const query = new URLSearchParams(location.search);
      query.set("policy", form.elements.policy.value);
      history.replaceState(history.state, "", `?${query}${location.hash}`);
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    const asked = new URLSearchParams(location.search).get("policy");
    if (policies.includes(asked)) form.elements.policy.value = asked;
    show(form.elements.policy.value);
    root.dataset.ready = "true";
  }

  for (const root of document.querySelectorAll(".ac-map")) start(root);
})();
